"""What is to be composed, sample by sample: every choice is a function of the seed and of what is combined."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dmx.data.compose.sources import Sources
from dmx.data.samples import Part
from dmx.errors import UserError

CHUNK = 32
"""Samples that one process makes before it notes that they are there."""
PART_NUMBERS: Mapping[Part, int] = {"train": 0, "val": 1, "test": 2}


@dataclass(frozen=True)
class Recipe:
    """How quartets are composed; see `dmx.data.compose.compose`."""

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
        part: What it serves.
        background: Number of the background.
        cutout: Number of the cut-out.
        place: Which of the places.
        flip: Whether the cut-out is mirrored.
    """

    part: Part
    background: int
    cutout: int
    place: int
    flip: bool

    def random(self, seed: int) -> np.random.Generator:
        """Its own random numbers, which nothing else that is composed changes; mirrored ones draw the same place."""
        return np.random.default_rng([seed, PART_NUMBERS[self.part], self.background, self.cutout, self.place])


@dataclass(frozen=True)
class Chunk:
    """Samples in a row: the number of the first, the part that they serve and the numbers of what they combine."""

    start: int
    part: Part
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Wanted:
    """How many samples.

    Attributes:
        count: Of all parts together; None takes every combination.
        places: Of each cut-out before each background.
        flip: Whether each is there mirrored too.
        val: The fraction for validation.
        test: The fraction for the test.
    """

    count: int | None
    places: int
    flip: bool
    val: float
    test: float

    def of(self, part: Part) -> int:
        """Samples of a part, where a number of all is given; a part that is wanted has one at least."""
        count = self.count or 0
        others = {
            name: max(1, round(count * share)) for name, share in (("val", self.val), ("test", self.test)) if share
        }
        return others[part] if part != "train" else count - sum(others.values())


def chunks(sources: Sources, wanted: Wanted, seed: int) -> tuple[int, list[Chunk]]:
    """All that is to be composed: how many, and in chunks; drawn from all combinations where fewer are wanted.

    Raises:
        UserError: More are wanted than there are combinations, or fewer than parts.
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
    """What the number stands for; backgrounds change slowest, as a process keeps the last ones."""
    backgrounds, cutouts = sources.parts[part]
    rest, flip = divmod(number, 2 if wanted.flip else 1)
    rest, place = divmod(rest, wanted.places)
    background, cutout = divmod(rest, len(cutouts))
    return Combination(part, backgrounds[background], cutouts[cutout], place, bool(flip))
