"""Where an importer finds pictures: a folder or a zip file, with paths as posix strings that begin there."""

import io
import lzma
import os
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
from dmx.data.importers.header import UNREADABLE, Seen, look

LARGEST = 2**28
"""Bytes of a picture in a zip file, which is unpacked in memory: 5 MB of zip can hold 5 GB of zeros."""


@runtime_checkable
class Tree(Protocol):
    """Files by path. Hidden files (`.DS_Store`, `._picture.jpg`) are no data and never shown."""

    @property
    def pictures(self) -> Path | None:
        """The folder in which the pictures can stay; None where they have to be unpacked."""

    def folders(self) -> Iterable[str]:
        """The folders in which a data set may be."""

    def listing(self, folder: str) -> list[str]:
        """The paths of the files directly in `folder`, sorted; none where there is no such folder."""

    def look(self, path: str) -> Seen:
        """The height and width of a picture, or what is wrong with it."""

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
        return sorted(path.name for path in self.root.iterdir() if path.is_dir()) if self.root.is_dir() else []

    def listing(self, folder: str) -> list[str]:
        """The paths of the files directly in `folder`."""
        if not (self.root / folder).is_dir():
            return []
        with os.scandir(self.root / folder) as entries:
            return sorted(f"{folder}/{one.name}" for one in entries if one.is_file() and not one.name.startswith("."))

    def walk(self) -> Iterator[str]:
        """The paths of all files in it, in folders of any depth."""
        for folder, names, files in os.walk(self.root):
            names[:] = sorted(name for name in names if not name.startswith("."))
            start = Path(folder).relative_to(self.root)
            yield from ((start / name).as_posix() for name in sorted(files) if not name.startswith("."))

    def look(self, path: str) -> Seen:
        """The height and width of a picture, or what is wrong with it."""
        try:
            with (self.root / path).open("rb") as file:
                return look(file)
        except FileNotFoundError:
            return "with a picture that is not there"
        except OSError:
            return UNREADABLE

    def copy(self, path: str, target: Path) -> None:
        """Copy a file."""
        writing.copy(self.root / path, target)


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
            hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.split("/"))
            if name and not hidden:
                found[folder].append(path)
        return dict(found)

    def folders(self) -> list[str]:
        """All folders: people pack a folder as well as what is in it."""
        return list(self._by_folder)

    def listing(self, folder: str) -> list[str]:
        """The paths of the files directly in `folder`."""
        return self._by_folder.get(folder, [])

    def look(self, path: str) -> Seen:
        """The height and width of a picture, or what is wrong with it; read whole, which compares its checksum."""
        if self.archive.getinfo(path).file_size > LARGEST:
            return f"with a picture of more than {LARGEST // 2**20} MiB"
        try:
            return look(io.BytesIO(self.archive.read(path)))
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, NotImplementedError):
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
