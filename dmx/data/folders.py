"""Which files of a folder are data: the one answer for everything that looks through folders.

Hidden files and what systems leave behind (`._a.png` of macOS, `Thumbs.db` of Windows, `@eaDir` of a disk station) are
no data. Links are followed, to files and to folders, but never round in a circle. Which of the files are pictures says
`dmx.data.formats`.
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
"""Names, in lower case, that systems and programs leave in folders of pictures."""


def is_data(name: str) -> bool:
    """Whether a file or folder of that name is anybody's own.

    >>> [is_data(name) for name in ("a.png", "._a.png", ".git", "Thumbs.db", "__MACOSX")]
    [True, False, False, False, False]
    """
    return not name.startswith(".") and name.lower() not in SYSTEM


def ending(path: str) -> str:
    """The ending of a file's name in lower case.

    >>> ending("rgb/IMG_1.JPG")
    '.jpg'
    """
    return PurePosixPath(path).suffix.lower()


def listable(path: str) -> bool:
    """Whether a list in UTF-8 can name a file: bytes of its name that are no UTF-8 come as lone surrogates."""
    return not re.search(r"[\ud800-\udfff]", path)


def escaped(path: str) -> str:
    """A path as every terminal can show it: bytes that are no UTF-8 by their numbers."""
    return path.encode(errors="surrogateescape").decode(errors="backslashreplace") if not listable(path) else path


def composed(name: str) -> str:
    """A name to compare: letters with accents as one sign, where macOS writes two (Unicode's NFC).

    >>> composed("e\u0301") == "\u00e9"
    True
    """
    return unicodedata.normalize("NFC", name)


def inside(folder: Path) -> tuple[list[str], list[str]]:
    """The names of the files and of the folders directly in a folder, both sorted; none where there is no such folder.

    A link to a file that is not there counts as that file, so that it is missed by name.

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
    """The paths, relative to `root`, of all files in it and in its folders of any depth.

    Raises:
        DataError: A folder cannot be listed.
    """
    waiting: list[tuple[str, frozenset[tuple[int, int]]]] = [("", frozenset())]
    while waiting:
        start, above = waiting.pop()
        found = (root / start).stat() if (root / start).is_dir() else None
        if found is None or (who := (found.st_dev, found.st_ino)) in above:  # a link to a folder that it is in
            continue
        files, folders = inside(root / start)
        yield from (start + name for name in files)
        waiting += [(f"{start}{name}/", above | {who}) for name in reversed(folders)]


def by_stem(paths: Iterable[str], role: str) -> dict[str, list[str]]:
    """The files that a role is read from, by their path without its ending, `composed`.

    >>> by_stem(["a.png", "b/a.JPG", "a.jpg", "a.txt"], "image")
    {'a': ['a.png', 'a.jpg'], 'b/a': ['b/a.JPG']}
    """
    found: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        if supported(path, role):
            found[composed(str(PurePosixPath(path).with_suffix("")))].append(path)
    return dict(found)
