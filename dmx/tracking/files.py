"""Files that are there whole or not at all."""

import errno
import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from dmx.errors import written


def make_folder(folder: Path) -> None:
    """Make a folder with those above it, where there is none.

    Raises:
        OSError: As the system says; a file system that takes none, as /proc, says that something is missing.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError as error:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder)) from error


def replace_bytes(path: Path, data: bytes) -> None:
    """Write `path`; a kill in the middle leaves the old content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with written(part, path):
        part.write_bytes(data)


def replace_text(path: Path, text: str) -> None:
    """Write `path` in UTF-8; a kill or a loss of power in the middle leaves the old content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with written(part, path), part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def linked(uri: str, path: Path, folder: str) -> bool:
    """Whether `path` could be kept in `folder` of a local `uri` as a second name, which takes no room.

    What a run has kept is replaced later on, never changed: so a name keeps what it was given to.
    """
    place = urlsplit(uri)
    if place.scheme != "file" or not path.is_file():
        return False
    target = Path(unquote(place.path), folder, path.name)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        os.link(path, target)
    except OSError:  # another disk, or one that knows no such names
        return False
    return True
