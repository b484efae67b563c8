"""Atomic writing and validated reading of the files that dmx keeps.

Every file that has to be whole is written with `replacing`, the only place that renames files. A file may since have
been changed by a failing disk, an incomplete copy, an editor or another version of dmx: a damaged file is refused with
one message that names it and the remedy.
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
"""Greatest length in characters of a reader's message about a damaged file."""


@contextmanager
def replacing(path: Path, part: Path | None = None, *, durable: bool = False) -> Iterator[Path]:
    """Write a file under another name and rename it to `path` on success.

    A kill at any moment leaves the old file or the new one, never a partial one. If the writing fails, the partial file
    is removed.

    Args:
        path: The file to create or replace.
        part: The temporary file, on the same disk; None: beside `path`, for files with one writing process at a time.
        durable: Whether to fsync before renaming, so that this also holds for a power failure.

    Yields:
        The temporary file's path.

    Raises:
        OSError: As raised by the system; if no space was left, with `path`, whichever library raised the error.
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
    """Create a folder with its parents, if it does not exist.

    Raises:
        OSError: As raised by the system; file systems without new folders, such as /proc, report a missing path.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError as error:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder)) from error


def replace_bytes(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Write bytes to `path` atomically; parent folders are created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, durable=durable) as part:
        part.write_bytes(data)


def replace_text(path: Path, text: str) -> None:
    """Write text to `path` in UTF-8, atomically and safe against power failure; parent folders are created."""
    replace_bytes(path, text.encode(), durable=True)


@contextmanager
def intact(path: Path, advice: str) -> Iterator[None]:
    """Convert any exception from reading a file into a `UserError`.

    Raises:
        UserError: The file is missing or damaged; the message ends with `advice`.
    """
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{path}: is gone; {advice}") from error
    except Exception as error:  # readers may raise anything for damaged files, including RecursionError and MemoryError
        cause, *_ = " ".join(f"{type(error).__name__}: {error}".split()).partition(" For further information")
        raise UserError(f"{path}: is damaged ({cause[:LONGEST]}); {advice}") from error


def read_json(path: Path, advice: str) -> Any:
    """Read a JSON file.

    Raises:
        UserError: It is damaged.
    """
    with intact(path, advice):
        return json.loads(path.read_bytes(), parse_constant=_refuse)


def read_mapping(path: Path, advice: str, *needed: str) -> dict[str, Any]:
    """Read a JSON object that must have the `needed` keys.

    Raises:
        UserError: The file is damaged.
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
