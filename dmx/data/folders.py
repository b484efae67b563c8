"""Which files of a folder are data: the rules for everything that lists folders.

Hidden files and files that systems create (`._a.png` of macOS, `Thumbs.db` of Windows, `@eaDir` of a Synology NAS) are
not data. Symbolic links to files and folders are followed, except in cycles. `dmx.data.formats` decides which of the
files are pictures.
"""

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from dmx.data.formats import supported
from dmx.errors import DataError

SYSTEM = frozenset(
    {
        *("__macosx", "icon\r", "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "@eadir"),
        *("$recycle.bin", "system volume information", "lost+found"),
    }
)
"""Names, in lower case, of files and folders that systems and programs create among pictures."""


def is_data(name: str) -> bool:
    """Whether a file or folder of this name is user data: not hidden and not created by a system.

    >>> [is_data(name) for name in ("a.png", "._a.png", ".git", "Thumbs.db", "__MACOSX")]
    [True, False, False, False, False]
    """
    return not name.startswith(".") and name.lower() not in SYSTEM


def ending(path: str) -> str:
    """Return the suffix of a file's name in lower case.

    >>> ending("rgb/IMG_1.JPG")
    '.jpg'
    """
    return PurePosixPath(path).suffix.lower()


def listable(path: str) -> bool:
    """Whether a path is valid UTF-8; Python represents other bytes in names as lone surrogates."""
    return not re.search(r"[\ud800-\udfff]", path)


def escaped(path: str) -> str:
    """Return a path for display, with bytes that are not UTF-8 escaped."""
    return path.encode(errors="surrogateescape").decode(errors="backslashreplace") if not listable(path) else path


def composed(name: str) -> str:
    """Normalise a name to Unicode's NFC for comparison: macOS writes accented letters as two code points (NFD).

    >>> composed("e\u0301") == "\u00e9"
    True
    """
    return unicodedata.normalize("NFC", name)


def inside(folder: Path) -> tuple[list[str], list[str]]:
    """List the files and the folders directly in a folder, both sorted; both are empty if the folder does not exist.

    A dangling link counts as a file, so that the missing file is reported by name.

    Raises:
        DataError: The folder cannot be listed.
    """
    files, folders = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                target = Path(entry.path) if entry.is_symlink() else entry
                if not is_data(entry.name):
                    continue
                if target.is_dir():
                    folders.append(entry.name)
                elif target.is_file() or (isinstance(target, Path) and not target.exists()):
                    files.append(entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return [], []
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror}); make it readable or name another.") from error
    return sorted(files), sorted(folders)


def walk(root: Path) -> Iterator[str]:
    """List all files below `root`, recursively, as paths relative to `root`.

    Raises:
        DataError: A folder cannot be listed.
    """
    waiting: list[tuple[str, frozenset[tuple[int, int]]]] = [("", frozenset())]
    while waiting:
        start, above = waiting.pop()
        found = (root / start).stat() if (root / start).is_dir() else None
        if found is None or (who := (found.st_dev, found.st_ino)) in above:  # a link to one of its own parent folders
            continue
        files, folders = inside(root / start)
        yield from (start + name for name in files)
        waiting += [(f"{start}{name}/", above | {who}) for name in reversed(folders)]


def by_stem(paths: Iterable[str], role: str) -> dict[str, list[str]]:
    """Group the files of a role by their path without suffix, normalised by `composed`.

    >>> by_stem(["a.png", "b/a.JPG", "a.jpg", "a.txt"], "image")
    {'a': ['a.png', 'a.jpg'], 'b/a': ['b/a.JPG']}
    """
    found: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        if supported(path, role):
            found[composed(str(PurePosixPath(path).with_suffix("")))].append(path)
    return dict(found)
