"""Augmentation types, and one random draw for all pictures of a quartet.

All four pictures need the same random transform, with the same probability and in the same order. So drawing is
separate from applying: `plan` draws a sample's transforms as plain numbers from the sample's seed alone, and a back end
applies them to every picture. Both back ends give the same result for the same seed, except for the noise field, which
only has the same distribution.

Coordinates are as in OpenCV and kornia: in pixels, x to the right, y downward, the first pixel's centre at (0, 0).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import prod, sqrt
from random import Random
from typing import Annotated

import numpy as np
from jaxtyping import Float64
from pydantic import Field

from dmx.registry import Range

Matrix = Float64[np.ndarray, "3 3"]
Probability = Annotated[float, Field(ge=0, le=1), Range(0, 1)]


@dataclass(frozen=True, eq=False)
class Colour:
    """RGB in [0, 1] -> clip(matrix @ (R, G, B, 1)), pixel by pixel."""

    matrix: Float64[np.ndarray, "3 4"]


@dataclass(frozen=True)
class Power:
    """v in [0, 1] -> v ** exponent, channel by channel."""

    exponent: float


@dataclass(frozen=True)
class Noise:
    """v in [0, 1] -> clip(v + n), n ~ N(0, std²), independent for each pixel and channel."""

    std: float
    seed: int


@dataclass(frozen=True)
class Blur:
    """Convolution with a Gaussian of deviation `sigma` pixels, cut to `size` x `size` pixels (an odd number)."""

    sigma: float
    size: int

    def fitted(self, height: int, width: int) -> int:
        """Return the kernel size for a picture of this size: reflection padding cannot exceed the picture's sides."""
        return min(self.size, 2 * min(height, width) - 1)


Change = Colour | Power | Noise | Blur
"""The value changes that every back end implements; a photometric augmentation draws one of them."""


@dataclass(frozen=True)
class Geometric:
    """An augmentation that moves the pixels of all pictures by one homography.

    Attributes:
        p: Probability of applying it.
        draw: (random, height, width) -> the homography from given to new coordinates.
        nearer: Whether enlarging means coming nearer, so that metric depth is divided by the enlargement.
    """

    p: float
    draw: Callable[[Random, int, int], Matrix]
    nearer: bool = False


@dataclass(frozen=True)
class Photometric:
    """An augmentation that changes the values of image and background, never those of mask and depth.

    Attributes:
        p: Probability of applying it.
        draw: random -> the change of a picture's values.
        apart: Whether image and background each have their own draw, including whether it is applied.
    """

    p: float
    draw: Callable[[Random], Change]
    apart: bool


Augmentation = Geometric | Photometric


@dataclass(frozen=True, eq=False)
class Warp:
    """The drawn homography of consecutive geometric augmentations, and the divisor of metric depth."""

    matrix: Matrix
    nearer: float = 1.0


@dataclass(frozen=True, eq=False)
class Retouch:
    """The drawn change of image and of background; the same object where they share one draw."""

    image: Change | None
    background: Change | None


Stage = Photometric | tuple[Geometric, ...]


def stages(steps: Sequence[Augmentation]) -> tuple[Stage, ...]:
    """Group consecutive geometric augmentations into one warp each, since every warp costs time and sharpness."""
    found: list[Stage] = []
    for geometric, run in groupby(steps, key=lambda step: isinstance(step, Geometric)):
        if geometric:
            found.append(tuple(step for step in run if isinstance(step, Geometric)))
        else:
            found.extend(step for step in run if isinstance(step, Photometric))
    return tuple(found)


def plan(run: Sequence[Stage], seed: int, height: int, width: int) -> list[Warp | Retouch | None]:
    """Draw what each stage does to one sample.

    It uses Python's generator rather than numpy's: seeding and single draws take a fifth of the time, and the numbers
    are the same in any process.

    Args:
        run: The stages in their order.
        seed: Seed of the sample, 0 or more: a function of (seed of the run, epoch, number of the sample).
        height: Height of the sample, in pixels.
        width: Width of the sample, in pixels.

    Returns:
        One draw per stage, None where the stage does nothing.
    """
    random = Random(seed)
    return [
        _retouch(stage, random) if isinstance(stage, Photometric) else _warp(stage, random, height, width)
        for stage in run
    ]


def _warp(run: Sequence[Geometric], random: Random, height: int, width: int) -> Warp | None:
    drawn = [(step.draw(random, height, width), step.nearer) for step in run if random.random() < step.p]
    if not drawn:
        return None
    matrix, _ = drawn[0]
    for later, _ in drawn[1:]:
        matrix = later @ matrix
    return Warp(matrix, prod(enlargement(one) for one, nearer in drawn if nearer))


def enlargement(matrix: Matrix) -> float:
    """Return the factor by which an affine map scales lengths: the square root of its area scale."""
    return sqrt(abs(float(np.linalg.det(matrix[:2, :2]))))


def divides(drawn: Warp, kind: str) -> bool:
    """Whether the warp changes depth values: never those of relative depth, which has no unit."""
    return kind == "metric" and drawn.nearer != 1


def _retouch(step: Photometric, random: Random) -> Retouch | None:
    image = step.draw(random) if random.random() < step.p else None
    background = image
    if step.apart:
        background = step.draw(random) if random.random() < step.p else None
    return None if image is None and background is None else Retouch(image, background)
