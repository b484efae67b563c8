"""The plan of a composed set: sources, their assignment to train, val and test, and numbered combinations.

Every choice is a function of the seed and of the combined items.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal, cast

import cv2
import numpy as np

from dmx.data.declaration import FILE, Declaration, DepthDeclaration
from dmx.data.decoding import unchanged
from dmx.data.folders import ending, escaped, listable, walk
from dmx.data.formats import PHOTOGRAPHS, supported, why_not
from dmx.data.layout import DatasetIndex, read
from dmx.data.samples import Part, Record, Samples
from dmx.data.split import PARTS, split
from dmx.datatools.compose.placement import Cutout, cut_out
from dmx.errors import DataError, UserError
from dmx.written import not_filled_in


@dataclass(frozen=True)
class Background:
    """A scene without the object; `depth` is its depth file, if it has metric depth."""

    image: Path
    depth: Path | None
    group: str


@dataclass(frozen=True)
class Sources:
    """Backgrounds and cut-outs, and their assignment to parts.

    Attributes:
        backgrounds: All backgrounds.
        cutouts: Files of RGBA pictures.
        depth: How the depth of the backgrounds is stored; None if they have no metric depth.
        parts: The numbers of backgrounds and of cut-outs for each part; parts are disjoint.
        upright: Whether to apply the EXIF orientation to backgrounds: always for a plain folder, for a data set as
            declared.
    """

    backgrounds: tuple[Background, ...]
    cutouts: tuple[Path, ...]
    depth: DepthDeclaration | None
    parts: Mapping[Part, tuple[tuple[int, ...], tuple[int, ...]]]
    upright: bool = False

    def fingerprint(self) -> str:
        """SHA-256 of the names, groups and sizes of all files, and of their assignment to parts."""
        digest = hashlib.sha256(repr((self.depth, sorted(self.parts.items()))).encode())
        for one in self.backgrounds:
            for path in (one.image, one.depth):
                digest.update(f"{one.group}\0{path and (path.name, path.stat().st_size)}\0".encode())
        for path in self.cutouts:
            digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        return digest.hexdigest()


def find_sources(
    backgrounds: Path, cutouts: Path, *, part: Part | None, val: float, test: float, seed: int, model: bool = False
) -> Sources:
    """Find backgrounds and cut-outs and assign them to parts.

    Args:
        backgrounds: A folder of pictures, each a group of its own, or a data set, whose images are the backgrounds and
            whose groups and official split are kept.
        cutouts: A folder of RGBA pictures.
        part: The part of the data set's official split to take the backgrounds from, which is then divided anew.
        val: The fraction of backgrounds and cut-outs for validation; 0 makes none.
        test: The fraction for the test; 0 makes none.
        seed: Seed of the assignment.
        model: Whether a model estimates depth, so that the data set's own is ignored.

    Raises:
        DataError: A folder is missing or empty, a cut-out has no alpha, there are too few items for the parts, or files
            of the data set are missing.
        UserError: The fractions are invalid.
    """
    scenes = _scenes(backgrounds, part)
    figures = _listed(cutouts, (".png",), "cut-outs (RGBA, PNG)")
    for record in figures.samples:
        read_cutout(figures.pictures / record.image)
    wanted = [name for name, share in (("train", 1.0), ("val", val), ("test", test)) if share > 0]
    by = "group" if (backgrounds / FILE).is_file() else "sample"
    divided = [
        split(scenes, val=val, test=test, seed=seed, by="group" if by == "group" else "sample"),
        split(figures, val=val, test=test, seed=seed, by="sample"),
    ]
    rows = [
        {name: tuple(int(row) for row in index.samples.rows(getattr(one, name))) for name in PARTS}
        for index, one in zip((scenes, figures), divided, strict=True)
    ]
    declared = scenes.declaration.depth
    metric = declared if declared is not None and declared.kind == "metric" and not model else None
    root = scenes.pictures
    return Sources(
        tuple(
            Background(root / r.image, root / r.depth if metric and r.depth else None, r.group) for r in scenes.samples
        ),
        tuple(figures.pictures / record.image for record in figures.samples),
        metric,
        {cast("Part", name): (rows[0][name], rows[1][name]) for name in wanted},
        upright=scenes.declaration.exif == "upright",
    )


def _scenes(folder: Path, part: Part | None) -> DatasetIndex:
    """Return the backgrounds as samples."""
    if not (folder / FILE).is_file():
        if part is not None:
            raise DataError(f"{folder}: is a plain folder without parts, but `part` is {part}; leave it out.")
        return _listed(folder, PHOTOGRAPHS, "backgrounds (PNG or JPEG)")
    index = read(folder)
    if index.pack is not None:
        raise DataError(f"{folder}: is a pack; name the data set that it was made from.")
    if part is not None:
        chosen = [replace(record, split=None) for record in index.samples if record.split == part]
        if not chosen:
            raise DataError(f"{folder}: has no sample whose official split is {part}; leave `part` out.")
        index = DatasetIndex(folder, index.declaration, Samples.of(chosen))
    index.check_files()
    return index


def _listed(folder: Path, suffixes: Collection[str], what: str) -> DatasetIndex:
    """Return the pictures of a plain folder as samples, each its own group."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of {what}{not_filled_in(folder)}; name one.")
    there = list(walk(folder))
    names = [name for name in there if ending(name) in suffixes]
    for name in there:
        why = why_not(name, "image") or ("is no PNG" if supported(name, "image") and name not in names else None)
        if why is not None:
            raise DataError(f"{folder}: holds what is no {what}: {escaped(name)} {why}; or take it out.")
    if unlisted := [escaped(name) for name in names if not listable(name)]:
        raise DataError(f"{folder}: holds a picture whose name is not UTF-8; rename it: {unlisted[0]}")
    if not names:
        raise DataError(f"{folder}: holds no {what}; put some there or name another folder.")
    records = [Record(name, name, None, name, name, None, None) for name in names]
    declared = Declaration(name=folder.name or "pictures", depth=None, exif="upright")
    return DatasetIndex(folder, declared, Samples.of(records))


@lru_cache(maxsize=128)
def read_cutout(path: Path) -> Cutout:
    """Read a cut-out.

    Raises:
        DataError: The file is not a readable RGBA picture, or nothing in it is opaque.
    """
    pixels = unchanged(path)
    if pixels.ndim != 3 or pixels.shape[2] != 4 or pixels.dtype != np.uint8:
        raise DataError(
            f"{path}: is no cut-out: it holds {pixels.dtype}{list(pixels.shape)} where four 8-bit channels (RGBA) are "
            "needed; save it with its alpha or take it out."
        )
    found = cut_out(cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA))
    if found is None:
        raise DataError(f"{path}: nothing in it is more than half opaque; restore its alpha or take it out.")
    return found


CHUNK = 32
"""Samples per chunk: the unit of work of a process, and of resuming."""
PART_NUMBERS: Mapping[Part, int] = {"train": 0, "val": 1, "test": 2}


@dataclass(frozen=True)
class Recipe:
    """How quartets are composed; see `dmx.datatools.compose.compose`."""

    size: tuple[int, int]
    seed: int
    fov: float
    object_height: tuple[float, float]
    distance: tuple[float, float]
    form: Literal["png", "jpg"]
    depth_model: str | None
    near: Literal["low", "high"]


@dataclass(frozen=True)
class Combination:
    """A cut-out in one of its places before a background.

    Attributes:
        part: Train, val or test.
        background: Number of the background.
        cutout: Number of the cut-out.
        place: Number of the place.
        flip: Whether the cut-out is mirrored.
    """

    part: Part
    background: int
    cutout: int
    place: int
    flip: bool

    def random(self, seed: int) -> np.random.Generator:
        """Return a generator that depends only on this combination and the seed, not on whether it is mirrored."""
        return np.random.default_rng([seed, PART_NUMBERS[self.part], self.background, self.cutout, self.place])


@dataclass(frozen=True)
class Chunk:
    """Consecutive samples: the first one's number, their part, and the numbers of their combinations."""

    start: int
    part: Part
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Wanted:
    """The requested number of samples and of combinations.

    Attributes:
        count: Number of samples over all parts; None takes every combination.
        places: Places of each cut-out before each background.
        flip: Whether to also mirror each cut-out.
        val: The fraction for validation.
        test: The fraction for the test.
    """

    count: int | None
    places: int
    flip: bool
    val: float
    test: float

    def of(self, part: Part) -> int:
        """Return the number of samples of a part, given a total `count`; a requested part has at least one."""
        count = self.count or 0
        others = {
            name: max(1, round(count * share)) for name, share in (("val", self.val), ("test", self.test)) if share
        }
        return others[part] if part != "train" else count - sum(others.values())


def plan_chunks(sources: Sources, wanted: Wanted, seed: int) -> tuple[int, list[Chunk]]:
    """Plan the total number of samples and their chunks; a subset of all combinations is drawn if fewer are requested.

    Raises:
        UserError: More samples are requested than there are combinations, or fewer than parts.
    """
    found, start = [], 0
    for part, rows in {part: _chosen(sources, wanted, part, seed) for part in sources.parts}.items():
        for first in range(0, len(rows), CHUNK):
            numbers = tuple(map(int, rows[first : first + CHUNK]))
            found.append(Chunk(start, part, numbers))
            start += len(numbers)
    return start, found


def _chosen(sources: Sources, wanted: Wanted, part: Part, seed: int) -> "range | np.ndarray":
    backgrounds, cutouts = sources.parts[part]
    flips = 2 if wanted.flip else 1
    total = len(backgrounds) * len(cutouts) * wanted.places * flips
    if wanted.count is None:
        return range(total)
    count = wanted.of(part)
    if not 1 <= count <= total:
        what = (
            f"{total} combinations ({len(backgrounds)} backgrounds x {len(cutouts)} cut-outs x {wanted.places} places "
            f"x {flips}); raise `places`, add pictures or lower `count`"
            if count > total
            else f"{len(sources.parts)} parts to fill; raise `count` or lower the fractions of val and test"
        )
        raise UserError(f"`count` {wanted.count} asks for {count} samples of {part}, but there are {what}.")
    rng = np.random.default_rng([seed, PART_NUMBERS[part]])
    return np.sort(rng.choice(total, count, replace=False))


def combination(sources: Sources, wanted: Wanted, part: Part, number: int) -> Combination:
    """Decode a combination from its number; backgrounds change slowest, because a process caches the last ones."""
    backgrounds, cutouts = sources.parts[part]
    rest, flip = divmod(number, 2 if wanted.flip else 1)
    rest, place = divmod(rest, wanted.places)
    background, cutout = divmod(rest, len(cutouts))
    return Combination(part, backgrounds[background], cutouts[cutout], place, bool(flip))
