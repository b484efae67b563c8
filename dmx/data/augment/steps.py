"""What an augmentation is, and one draw for all pictures of a quartet.

The question of this problem's original authors was how to apply the same random transform, with the same probability
and in the same order, to all four pictures. Here the drawing is apart from the applying: `plan` draws what is done to a
sample, as plain numbers, from the sample's seed alone; a back end then does that to every picture. So the pictures of a
quartet cannot be given different draws, nor can the back ends: for the same seed both do the same, but for the noise
field, of which they share the distribution only.

Coordinates are those of OpenCV and kornia: in pixels, x to the right, y downward, the first pixel's centre at (0, 0).
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
    """v in [0, 1] -> clip(v + n), n normal with mean 0 and deviation `std`, of its own for each pixel and channel."""

    std: float
    seed: int


@dataclass(frozen=True)
class Blur:
    """Convolution with a Gaussian of deviation `sigma` pixels, cut to `size` x `size` pixels (an odd number)."""

    sigma: float
    size: int

    def fitted(self, height: int, width: int) -> int:
        """The size of the kernel on a picture of that size, which by reflection reaches no further than it is wide."""
        return min(self.size, 2 * min(height, width) - 1)


Change = Colour | Power | Noise | Blur
"""All that back ends can do to a picture's values; a photometric augmentation draws one of them."""


@dataclass(frozen=True)
class Geometric:
    """Moves the pixels of all pictures alike.

    Attributes:
        p: With which probability it happens.
        draw: (random, height, width) -> the homography that takes coordinates of the given picture to the new one's.
        nearer: Whether what it enlarges has come nearer, so that metric depth is divided by the enlargement.
    """

    p: float
    draw: Callable[[Random, int, int], Matrix]
    nearer: bool = False


@dataclass(frozen=True)
class Photometric:
    """Changes the values of image and background, never those of mask and depth.

    Attributes:
        p: With which probability it happens.
        draw: random -> what is done to a picture.
        apart: Whether image and background each have a draw of their own, also of whether it happens.
    """

    p: float
    draw: Callable[[Random], Change]
    apart: bool


Augmentation = Geometric | Photometric


@dataclass(frozen=True, eq=False)
class Warp:
    """The homography, drawn, of a run of geometric augmentations, and what metric depth is divided by."""

    matrix: Matrix
    nearer: float = 1.0


@dataclass(frozen=True, eq=False)
class Retouch:
    """What is done to the values of each picture; the same object where one draw is for both."""

    image: Change | None
    background: Change | None


Stage = Photometric | tuple[Geometric, ...]


def stages(steps: Sequence[Augmentation]) -> tuple[Stage, ...]:
    """Gather neighbouring geometric augmentations, which need one warp only: each warp takes time and sharpness."""
    found: list[Stage] = []
    for geometric, run in groupby(steps, key=lambda step: isinstance(step, Geometric)):
        if geometric:
            found.append(tuple(step for step in run if isinstance(step, Geometric)))
        else:
            found.extend(step for step in run if isinstance(step, Photometric))
    return tuple(found)


def plan(run: Sequence[Stage], seed: int, height: int, width: int) -> list[Warp | Retouch | None]:
    """Draw what each stage does to the sample of that seed; None where it does nothing.

    Python's generator, not numpy's, for its seeding and single numbers take a fifth of the time, and its numbers are
    the same in any process.

    Args:
        run: The stages in their order.
        seed: Of the sample, 0 or more: a function of (seed of the run, epoch, number of the sample).
        height: Of the sample, in pixels.
        width: Of the sample, in pixels.
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
    """By how much an affine map enlarges lengths: the root of what it enlarges areas by."""
    return sqrt(abs(float(np.linalg.det(matrix[:2, :2]))))


def divides(drawn: Warp, kind: str) -> bool:
    """Whether depth of that kind changes its values: relative depth has no unit, so that nothing is nearer in it."""
    return kind == "metric" and drawn.nearer != 1


def _retouch(step: Photometric, random: Random) -> Retouch | None:
    image = step.draw(random) if random.random() < step.p else None
    background = image
    if step.apart:
        background = step.draw(random) if random.random() < step.p else None
    return None if image is None and background is None else Retouch(image, background)
