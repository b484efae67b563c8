"""Files that dmx writes itself: written whole or not at all, and read back whole or refused.

Every file that has to be whole is written with `replacing`, the one place where a file takes another's place. What is
read back may have been changed by a disk, a copy that was cut, an editor or another version: a damaged file is refused
in one message that names it and the way out.
"""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from dmx.errors import UserError, full
from dmx.machine import flush

LONGEST = 200
"""Characters of what a reader says of a damaged file."""


@contextmanager
def replacing(path: Path, part: Path | None = None, *, durable: bool = False) -> Iterator[Path]:
    """Write a file under another name, which becomes `path` once all of it is there.

    A kill at any moment leaves the old file or the new one, never half of one. Where the writing fails, nothing of it
    is left.

    Args:
        path: The file to make or replace.
        part: Where to write, on the same disk; None: beside `path`, for files that one process at a time writes.
        durable: Whether to wait for the disk before renaming, so that a loss of power, too, leaves one or the other.

    Yields:
        Where to write.

    Raises:
        OSError: As the system says; where there was no room, with `path`, whichever library raised it.
    """
    part = part or path.with_name(f".{path.name}.part")
    try:
        yield part
        if durable:
            flush(part)
        part.replace(path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if full(error):
            raise OSError(errno.ENOSPC, "no room left", str(path)) from error
        raise


def make_folder(folder: Path) -> None:
    """Make a folder with those above it, where there is none.

    Raises:
        OSError: As the system says; a file system that takes none, as /proc, says that something is missing.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError as error:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder)) from error


def replace_bytes(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Write `path`, and the folders above it, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, durable=durable) as part:
        part.write_bytes(data)


def replace_text(path: Path, text: str) -> None:
    """Write `path` in UTF-8, and the folders above it, whole or not at all, whatever happens to the power."""
    replace_bytes(path, text.encode(), durable=True)


@contextmanager
def intact(path: Path, advice: str) -> Iterator[None]:
    """Around the reading of a file: whatever a reader raises of a damaged one becomes one message.

    Raises:
        UserError: The file is gone, or cannot be read as what it is; `advice` says what to do.
    """
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{path}: is gone; {advice}") from error
    except Exception as error:  # readers of damaged files raise anything, RecursionError and MemoryError among it
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{path}: is damaged ({cause[:LONGEST]}); {advice}") from error


def read_json(path: Path, advice: str) -> Any:
    """The JSON in a file.

    Raises:
        UserError: It is damaged.
    """
    with intact(path, advice):
        return json.loads(path.read_bytes(), parse_constant=_refuse)


def read_mapping(path: Path, advice: str, *needed: str) -> dict[str, Any]:
    """The JSON object in a file, which has these keys.

    Raises:
        UserError: It is damaged.
    """
    with intact(path, advice):
        found = read_json(path, advice)
        if not isinstance(found, dict):
            raise TypeError(f"holds {type(found).__name__} where keys and values are needed")
        if missing := [key for key in needed if key not in found]:
            raise KeyError(f"lacks {', '.join(missing)}")
        return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")
