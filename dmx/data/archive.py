"""Zip files of strangers: looked through before a byte is written, so that no entry gets out of its folder."""

import re
import shutil
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dmx.errors import DataError

GIB = 2**30


@contextmanager
def opened(path: Path, out: Path) -> Iterator[zipfile.ZipFile]:
    """The zip file at `path`, found harmless.

    Args:
        path: The zip file.
        out: Where its entries are going to be written; it need not be there yet.

    Raises:
        DataError: The file is no zip file; an entry would be written outside of the folder (an absolute path, `..`, a
            drive letter), is a link or a device, or is encrypted; or all together do not fit on the disk of `out`.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:  # the third: of a later version
        raise DataError(
            f"{path}: cannot be read as a zip file ({error}); give a folder or another zip file."
        ) from error
    with archive:
        _refuse_unsafe(path, archive.infolist())
        _refuse_too_large(path, archive.infolist(), out)
        yield archive


def _refuse_unsafe(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    for entry in entries:
        if (what := _unsafe(entry)) is not None:
            raise DataError(
                f"{path}: entry '{entry.filename}' {what}; nothing was written. Make the zip file anew without it."
            )


def _unsafe(entry: zipfile.ZipInfo) -> str | None:
    """Why an entry is not to be written, if it is not."""
    parts = re.split(r"[/\\]", entry.filename)
    if parts[0] == "" or ".." in parts or re.match(r"[A-Za-z]:", parts[0]):
        return "would be written outside of the folder"
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):  # 0: made by a system without kinds
        return "is a link or a device"
    return "is encrypted" if entry.flag_bits & 1 else None


def _refuse_too_large(path: Path, entries: list[zipfile.ZipInfo], out: Path) -> None:
    """Go by the declared sizes: no entry gives more than it declares, for zipfile reads no further."""
    folder = next(one for one in (out.absolute(), *out.absolute().parents) if one.exists())
    needed, free = sum(entry.file_size for entry in entries), shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"{path}: its entries take {needed / GIB:,.1f} GiB, but only {free / GIB:,.1f} GiB are free at {folder}; "
            "nothing was written. Make room or choose another disk."
        )
