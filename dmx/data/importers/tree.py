"""Where an importer finds pictures: a folder or a zip file, with paths as posix strings that begin there."""

import io
import lzma
import struct
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

from dmx.data import archive, writing
from dmx.data.folders import inside, is_data, walk
from dmx.data.importers.header import UNREADABLE, Seen, look

LARGEST = 2**28
"""Bytes of a picture in a zip file, which is unpacked in memory: 5 MB of zip can hold 5 GB of zeros."""


@runtime_checkable
class Tree(Protocol):
    """Files by path; what is no data (`dmx.data.folders`) is never shown."""

    @property
    def pictures(self) -> Path | None:
        """The folder in which the pictures can stay; None where they have to be unpacked."""

    def folders(self) -> Iterable[str]:
        """The folders in which a data set may be."""

    def listing(self, folder: str) -> list[str]:
        """The paths of the files directly in `folder`, sorted; none where there is no such folder."""

    def look(self, path: str, *, upright: bool = False) -> Seen:
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

    def look(self, path: str, *, upright: bool = False) -> Seen:
        """The height and width of a picture, as stored or as EXIF turns it, or what is wrong with it."""
        try:
            with (self.root / path).open("rb") as file:
                return look(file, upright=upright)
        except (FileNotFoundError, ValueError):  # ValueError: a zero byte in the path
            return "with a picture that is not there"
        except OSError:
            return UNREADABLE

    def copy(self, path: str, target: Path) -> None:
        """Copy a file."""
        writing.copy(self.root / path, target)


DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError, ValueError, struct.error)
"""What reading from a damaged zip file raises; ValueError: the name before the file is no UTF-8."""


@dataclass(frozen=True)
class Zip:
    """The files in a zip file that was found harmless."""

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
        """All folders: people pack a folder as well as what is in it."""
        return list(self._by_folder)

    def listing(self, folder: str) -> list[str]:
        """The paths of the files directly in `folder`."""
        return self._by_folder.get(folder, [])

    def look(self, path: str, *, upright: bool = False) -> Seen:
        """The height and width of a picture, or what is wrong with it; read whole, which compares its checksum."""
        if self.archive.getinfo(path).file_size > LARGEST:
            return f"with a picture of more than {LARGEST // 2**20} MiB"
        try:
            return look(io.BytesIO(self.archive.read(path)), upright=upright)
        except DAMAGED:
            return UNREADABLE

    def copy(self, path: str, target: Path) -> None:
        """Unpack a file."""
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(self.archive.read(path))


@contextmanager
def opened(source: Path, out: Path) -> Iterator[Tree]:
    """The folder or zip file `source`, of which pictures may be written into `out`.

    Raises:
        DataError: It is a file but no harmless zip file.
    """
    if not source.is_file():
        yield Folder(source)
        return
    with archive.opened(source, out) as found:
        yield Zip(found)
