"""Sources of an importer, a folder or a zip file, and the sizes of their pictures; paths are POSIX and relative.

Sizes are read from headers: 26 microseconds, where decoding takes a thousand. Untrusted zip files are checked before
anything is written, so that no entry escapes the target folder.
"""

import io
import lzma
import re
import shutil
import stat
import struct
import warnings
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

from PIL import Image

from dmx.data.arrays import array_header, channel_axis, unbatched
from dmx.data.exr import display_size
from dmx.data.folders import inside, is_data, walk
from dmx.data.formats import by_content
from dmx.data.headers import LARGEST, orientation_of
from dmx.errors import DataError

SizeOrReason = tuple[int, int] | str
"""Height and width in pixels, or the reason why they are unknown."""
UNREADABLE = "with a picture that cannot be read"
TOO_LARGE = f"with a picture of more than {LARGEST // 10**6} megapixels; make it smaller"


def picture_size(file: io.BufferedReader | io.BytesIO, *, upright: bool = False) -> SizeOrReason:
    """Read height and width of a PNG, JPEG, NPY or (only from disk) EXR picture, or return why it cannot be read.

    Args:
        file: The picture.
        upright: Whether to apply the EXIF orientation.
    """
    found = by_content(file.read(16))
    file.seek(0)
    try:
        if found is not None and found.name == "NPY":
            height, width = _array(file)
        elif found is not None and found.name == "EXR":
            height, width = display_size(Path(str(file.name))) if isinstance(file, io.BufferedReader) else (0, 0)
        else:
            with warnings.catch_warnings(action="ignore"), Image.open(file, formats=("PNG", "JPEG")) as picture:
                height, width = picture.height, picture.width  # no pixel is read
                exif = bytes(picture.info.get("exif", b"")).removeprefix(b"Exif\0\0")
                if upright and orientation_of(exif) >= 5:
                    height, width = width, height
    except Image.DecompressionBombError:
        return TOO_LARGE
    except (OSError, ValueError, SyntaxError):
        return UNREADABLE
    if height * width > LARGEST:
        return TOO_LARGE
    return (height, width) if height * width else UNREADABLE


def _array(file: io.BufferedReader | io.BytesIO) -> tuple[int, int]:
    shape = unbatched(array_header(file)[0])
    axis = channel_axis(shape)
    height, width = shape if axis is None else shape[1:] if axis == 0 else shape[:2]
    return height, width


GIB = 2**30


@contextmanager
def open_zip(path: Path, out: Path) -> Iterator[zipfile.ZipFile]:
    """Open the zip file at `path` after checking that it is safe to unpack.

    Args:
        path: The zip file.
        out: The folder to write its entries to; it need not exist yet.

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
    """Return why an entry is unsafe; None if it is safe."""
    parts = re.split(r"[/\\]", entry.filename)
    if parts[0] == "" or ".." in parts or re.match(r"[A-Za-z]:", parts[0]):
        return "would be written outside of the folder"
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):  # 0: made by a system without kinds
        return "is a link or a device"
    return "is encrypted" if entry.flag_bits & 1 else None


def _refuse_too_large(path: Path, entries: list[zipfile.ZipInfo], out: Path) -> None:
    """Check the declared sizes, which suffices because zipfile never reads more than an entry declares."""
    folder = next(one for one in (out.absolute(), *out.absolute().parents) if one.exists())
    needed, free = sum(entry.file_size for entry in entries), shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"{path}: its entries take {needed / GIB:,.1f} GiB, but only {free / GIB:,.1f} GiB are free at {folder}; "
            "nothing was written. Make room or choose another disk."
        )


LARGEST_IN_ZIP = 2**28
"""Largest picture in a zip file in bytes; it is unpacked in memory, and 5 MB of zip can hold 5 GB of zeros."""


@runtime_checkable
class Tree(Protocol):
    """Files by path, without those that are not data (see `dmx.data.folders`)."""

    @property
    def pictures(self) -> Path | None:
        """The folder in which the pictures can stay; None if they must be unpacked."""

    def folders(self) -> Iterable[str]:
        """List the folders that may contain a data set."""

    def listing(self, folder: str) -> list[str]:
        """List the files directly in `folder`, sorted; empty if it does not exist."""

    def picture_size(self, path: str, *, upright: bool = False) -> SizeOrReason:
        """The height and width of a picture, as stored or as EXIF turns it, or what is wrong with it."""

    def copy(self, path: str, target: Path) -> None:
        """Write a file to `target`."""


@dataclass(frozen=True)
class Folder:
    """The files in a folder."""

    root: Path

    @property
    def pictures(self) -> Path:
        """The folder itself."""
        return self.root.resolve()

    def folders(self) -> list[str]:
        """The folders directly in it."""
        return inside(self.root)[1]

    def listing(self, folder: str) -> list[str]:
        """The paths of the files directly in `folder`."""
        return [f"{folder}/{name}" for name in inside(self.root / folder)[0]]

    def walk(self) -> Iterator[str]:
        """The paths of all files in it, in folders of any depth."""
        return walk(self.root)

    def picture_size(self, path: str, *, upright: bool = False) -> SizeOrReason:
        """The height and width of a picture, as stored or as EXIF turns it, or what is wrong with it."""
        try:
            with (self.root / path).open("rb") as file:
                return picture_size(file, upright=upright)
        except (FileNotFoundError, ValueError):  # ValueError: a zero byte in the path
            return "with a picture that is not there"
        except OSError:
            return UNREADABLE

    def copy(self, path: str, target: Path) -> None:
        """Copy a file."""
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.root / path, target)


DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, OSError, RuntimeError, ValueError, MemoryError),
)
"""What reading from a damaged zip file raises; ValueError: the name before the file is no UTF-8; MemoryError: LZMA's
header asks for a dictionary of up to 4 GiB."""


@dataclass(frozen=True)
class Zip:
    """The files in a zip file that was checked by `open_zip`."""

    archive: zipfile.ZipFile
    pictures: None = None

    @cached_property
    def _by_folder(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for path in sorted(set(self.archive.namelist())):
            folder, _, name = path.rpartition("/")
            if name and all(map(is_data, path.split("/"))):
                found[folder].append(path)
        return dict(found)

    def folders(self) -> list[str]:
        """List all folders, since a zip may contain the folder itself or only its contents."""
        return list(self._by_folder)

    def listing(self, folder: str) -> list[str]:
        """The paths of the files directly in `folder`."""
        return self._by_folder.get(folder, [])

    def picture_size(self, path: str, *, upright: bool = False) -> SizeOrReason:
        """Return the size of a picture, or what is wrong with it; reads the whole entry, which verifies its CRC."""
        if self.archive.getinfo(path).file_size > LARGEST_IN_ZIP:
            return f"with a picture of more than {LARGEST_IN_ZIP // 2**20} MiB"
        try:
            return picture_size(io.BytesIO(self.archive.read(path)), upright=upright)
        except DAMAGED:
            return UNREADABLE

    def copy(self, path: str, target: Path) -> None:
        """Unpack a file."""
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(self.archive.read(path))


@contextmanager
def open_source(source: Path, out: Path) -> Iterator[Tree]:
    """Open the folder or zip file `source`, whose pictures may be written into `out`.

    Raises:
        DataError: It is a file but not a safe zip file.
    """
    if not source.is_file():
        yield Folder(source)
        return
    with open_zip(source, out) as found:
        yield Zip(found)
