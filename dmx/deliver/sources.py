"""What `dmx predict` is to look at: files, folders, patterns, videos and data sets, each picture with its name."""

import glob
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import UInt8

from dmx.data.declaration import FILE as DECLARATION
from dmx.data.decoding import colour
from dmx.data.folders import by_stem, escaped, walk
from dmx.data.formats import PHOTOGRAPHS, supported, why_not
from dmx.data.layout import DatasetIndex, read
from dmx.data.pack.read import PackReader
from dmx.data.reading import decoded, shared_background
from dmx.data.samples import Record
from dmx.deliver.video import VIDEOS, Video
from dmx.errors import DataError, UserError

Picture = UInt8[np.ndarray, "_ _ 3"]
Read = Callable[[], tuple[Picture, Picture | None]]


@dataclass(frozen=True)
class Item:
    """One picture.

    Attributes:
        name: What its files are called, without suffix: a relative path.
        source: The file that it is in.
        read: Reads it, and the scene without the object where that is known; raises `DataError` where it is broken.
    """

    name: str
    source: Path
    read: Read


class Files:
    """Pictures in files, by name.

    Attributes:
        knows_backgrounds: Whether it has each picture's background.
    """

    knows_backgrounds = False

    def __init__(self, paths: dict[str, Path]) -> None:
        self._paths = paths

    @property
    def total(self) -> int:
        """How many pictures there are."""
        return len(self._paths)

    def names(self) -> dict[str, str]:
        """The names that no other picture may have, and what is called so."""
        return {name: str(path) for name, path in self._paths.items()}

    def items(self) -> Iterator[Item]:
        """The pictures, turned upright as their EXIF says."""
        for name, path in self._paths.items():
            yield Item(name, path, partial(_upright, path))


class Film:
    """The frames of a video: NAME/000001 and so on."""

    knows_backgrounds = False

    def __init__(self, path: Path) -> None:
        self._video = Video(path)
        self.total = self._video.total

    def names(self) -> dict[str, str]:
        """The video's name, which no other picture may have, and its path."""
        return {self._video.path.stem: str(self._video.path)}

    def items(self) -> Iterator[Item]:
        """The frames; what is broken is the last item, and raises as it is read."""
        path = self._video.path
        number = 0
        try:
            for number, frame in enumerate(self._video.frames(), start=1):
                yield Item(f"{path.stem}/{number:06d}", path, partial(_held, frame))
        except DataError as error:
            yield Item(f"{path.stem}/{number + 1:06d}" if number else path.stem, path, partial(_broken, error))


def _upright(path: Path) -> tuple[Picture, Picture | None]:
    return colour(path, upright=True), None


def _held(frame: Picture) -> tuple[Picture, Picture | None]:
    return frame, None


def _broken(error: DataError) -> tuple[Picture, Picture | None]:
    raise error


class Samples:
    """The pictures of a data set, by the samples' ids, as they lie in it: turned by EXIF only where it says so.

    Args:
        index: The data set.
        ids: The samples; None: all.

    Raises:
        DataError: An id cannot be the name of a file.
    """

    def __init__(self, index: DatasetIndex, ids: Sequence[str] | None) -> None:
        self._index = index
        self._ids = index.samples.column("id") if ids is None else list(ids)
        self.knows_backgrounds = index.has_background
        self.total = len(self._ids)
        for name in self._ids:
            if name.startswith("/") or ".." in name.split("/") or "\0" in name:
                raise DataError(f"{index.root}: the id '{name}' leads out of a folder; rename that sample.")

    def names(self) -> dict[str, str]:
        """The ids, each with its data set."""
        return {name: f"{self._index.root}: {name}" for name in self._ids}

    def items(self) -> Iterator[Item]:
        """The samples, each with its background if the data set has them."""
        index = self._index
        pack = None if index.pack is None else PackReader(index.root, index.pack, index.declaration.depth)
        for name, row in zip(self._ids, index.samples.rows(self._ids).tolist(), strict=True):
            if pack is not None:
                yield Item(name, index.root, partial(_packed, pack, row))
            else:
                record = index.samples[row]
                yield Item(name, index.pictures / record.image, partial(_sample, index, record))


def _packed(pack: PackReader, row: int) -> tuple[Picture, Picture | None]:
    quartet = pack.quartet(row)
    return quartet.image, quartet.background


def _sample(index: DatasetIndex, record: Record) -> tuple[Picture, Picture | None]:
    image = decoded(index.pictures / record.image, "image", index.declaration).pixels
    if record.background is None:
        return image, None
    return image, decoded(index.pictures / record.background, "background", index.declaration).pixels


Source = Files | Film | Samples
"""Where pictures come from."""


def sources(
    given: Sequence[Path], ids_of: Callable[[DatasetIndex], Sequence[str]] | None
) -> tuple[list[Source], list[str]]:
    """Find what is given on the command line.

    Args:
        given: Files, folders, patterns such as `photos/*.jpg`, videos and folders of data sets.
        ids_of: Chooses samples of a data set; None: all.

    Returns:
        Where the pictures come from, and the files that were left out, each with the reason.

    Raises:
        DataError: There are no pictures, or two have the same name.
        UserError: Samples are to be chosen, and there is no data set.
    """
    found: list[Source] = []
    left_out: list[str] = []
    for one in given:
        if one.is_file():
            found.append(file(one, one.stem))
        elif (one / DECLARATION).is_file():
            index = read(one)
            found.append(Samples(index, None if ids_of is None else ids_of(index)))
        elif one.is_dir():
            paths, without = pictures(one)
            found.append(Files(paths))
            left_out += without
        else:
            some, without = matches(one)
            found += some
            left_out += without
    if ids_of is not None and not any(isinstance(source, Samples) for source in found):
        raise UserError("--part is of a data set of dmx, and none is named; leave it out.")
    refuse_equal_names(found)
    return found, left_out


def refuse_equal_names(found: Sequence[Source]) -> None:
    """Refuse two pictures of one name.

    Raises:
        DataError: There are two.
    """
    known: dict[str, str] = {}
    for source in found:
        for name, what in source.names().items():
            if name in known:
                raise same_name([known[name], what])
            known[name] = what
    for film in (source for source in found if isinstance(source, Film)):
        for stem, path in film.names().items():
            for name, what in known.items():
                if name.startswith(f"{stem}/"):
                    raise same_name([path, what])


def same_name(paths: Sequence[str]) -> DataError:
    """The error for pictures of one name."""
    return DataError(f"{' and '.join(paths)} have one name, but each gives one mask; rename one of them.")


def file(path: Path, name: str) -> Source:
    """The source for one file.

    Raises:
        DataError: It is of a format that is known and not read.
    """
    if path.suffix.lower() in VIDEOS:
        return Film(path)
    if (why := why_not(path, "image")) is not None:
        raise DataError(f"{path}: {why}.")
    return Files({name: path})


def pictures(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Find the pictures in a folder by name, recursively.

    Returns:
        The pictures by name, and the files that were left out, each with the reason.

    Raises:
        DataError: There are none, or two have the same name.
    """
    there = list(walk(folder))
    left_out = [f"{escaped(path)} {why}" for path in there if (why := unfit(path)) is not None]
    found = by_stem(there, "image")
    if not found:
        others = f" What is there: {left_out[0]}." if left_out else ""
        kinds = ", ".join(sorted(PHOTOGRAPHS))
        raise DataError(f"{folder}: there is no picture ({kinds}); name a picture or a folder.{others}")
    if several := next((paths for paths in found.values() if len(paths) > 1), None):
        raise same_name([str(folder / path) for path in reversed(several)])
    return {name: folder / found[name][0] for name in sorted(found)}, left_out


def unfit(path: str) -> str | None:
    """Why a file of a folder is left out; None for pictures, and for what is no picture by its name."""
    if PurePosixPath(path).suffix.lower() in VIDEOS:
        return "is a video; name it by itself"
    return why_not(path, "image")


def matches(pattern: Path) -> tuple[list[Source], list[str]]:
    """Find the files that match a pattern; they are named by what follows its part without wildcards.

    Raises:
        DataError: There are none.
    """
    fixed = Path(*takewhile(lambda part: not glob.has_magic(part), pattern.parts[:-1]))
    there = [Path(one) for one in sorted(glob.glob(str(pattern), recursive=True))]  # noqa: PTH207 - Path.glob refuses absolute patterns
    files = [one for one in there if one.is_file()]
    taken = [one for one in files if supported(one, "image") or one.suffix.lower() in VIDEOS]
    if not taken:
        kinds = ", ".join(sorted(PHOTOGRAPHS | VIDEOS))
        what = f"matches no picture or video ({kinds})" if glob.has_magic(str(pattern)) else "is not there"
        raise DataError(f"{pattern}: {what}; name a picture, a video, a folder or a quoted pattern.")
    left_out = [f"{escaped(str(one))} {why}" for one in files if (why := why_not(one, "image")) is not None]
    return [file(one, str(PurePosixPath(one.relative_to(fixed)).with_suffix(""))) for one in taken], left_out


class Backgrounds:
    """The scenes without the object, one for all pictures or one of each picture's name; or the data set's own.

    Args:
        path: A picture or a folder of pictures.

    Raises:
        DataError: The folder has no pictures.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._there = None if path.is_file() else pictures(path)[0]

    def check(self, found: Sequence[Source]) -> None:
        """Check that there is one for each picture.

        Raises:
            DataError: There is not.
        """
        for name in (name for source in found if not source.knows_backgrounds for name in source.names()):
            self._of(name)

    def __call__(self, name: str) -> Picture:
        """The background of the picture of this name; of a frame, that of the video's name."""
        parent = str(PurePosixPath(name).parent)
        known = self._there is None or name in self._there
        return shared_background(self._of(name if known else parent), upright=True).pixels

    def _of(self, name: str) -> Path:
        if self._there is None:
            return self._path
        if name not in self._there:
            raise DataError(
                f"{self._path}: has no picture called {name}, the background of the picture of that name; of a data "
                "set of dmx name its folder, and backgrounds are known."
            )
        return self._there[name]
