"""Augmentations that move pixels: one homography for background, image, mask, depth and their validity masks.

Pixels from outside the frame are filled by reflection, in all pictures. RGB pictures are interpolated linearly; mask
and depth use nearest-neighbour, because a blend of 1 m and 5 m is a depth at which there is no surface. Only `scale`
changes depth values: `perspective` enlarges one part and reduces another, as a turned camera does, and the others move
pixels without enlarging anything.
"""

from functools import partial
from math import cos, exp, log, radians, sin
from random import Random
from typing import Annotated

import cv2
import numpy as np
from pydantic import Field

from dmx.data.augment.steps import Geometric, Matrix, Probability
from dmx.registry import Range, augmentations

FlipProbability = Annotated[float, Field(ge=0, le=1), Range(0, 0.5)]
"""Searched up to 0.5 only: above it, unflipped pictures become the rare case."""


@augmentations.register("horizontal_flip", source="Krizhevsky et al. 2012, sec. 4.1", effect="geometric")
def horizontal_flip(*, p: FlipProbability = 0.5) -> Geometric:
    """Mirror left and right: x' = W - 1 - x.

    Args:
        p: Probability.
    """
    return Geometric(p, _mirrored_across)


@augmentations.register("vertical_flip", source="torchvision, RandomVerticalFlip", effect="geometric")
def vertical_flip(*, p: FlipProbability = 0.5) -> Geometric:
    """Mirror top and bottom: y' = H - 1 - y. For pictures without a floor and a sky, such as those taken from above.

    Args:
        p: Probability.
    """
    return Geometric(p, _mirrored_down)


@augmentations.register("random_crop", source="He et al. 2016, sec. 4.2", effect="geometric")
def random_crop(
    *,
    padding: Annotated[float, Field(ge=0, le=0.5), Range(0.02, 0.25)] = 0.125,
    p: Probability = 1.0,
) -> Geometric:
    """Pad by reflection, then crop the picture's own size at a random place: a shift by whole pixels.

    Args:
        padding: On each side, as a part of the picture's width (left, right) and height (top, bottom); the shift is
            uniform in [-padding, padding] of them.
        p: Probability.
    """
    return Geometric(p, partial(_shifted, padding))


@augmentations.register("rotation", source="torchvision, RandomRotation", effect="geometric")
def rotation(
    *, degrees: Annotated[float, Field(ge=0, le=180), Range(1, 30, log=True)] = 5.0, p: Probability = 0.5
) -> Geometric:
    """Rotate about the picture's centre by a random angle, uniform in [-degrees, degrees].

    Args:
        degrees: The greatest angle; positive ones are counter-clockwise as seen.
        p: Probability.
    """
    return Geometric(p, partial(_rotated, degrees))


@augmentations.register("scale", source="Eigen et al. 2014, sec. 3.3; torchvision, RandomAffine", effect="geometric")
def scale(
    *, factor: Annotated[float, Field(ge=1, le=4), Range(1.05, 1.5)] = 1.2, nearer: bool = True, p: Probability = 0.5
) -> Geometric:
    """Enlarge or shrink about the picture's centre by a random factor s, its logarithm uniform in ±ln(factor).

    Metric depth becomes depth / s, as in the paper: a picture s times as large is one from s times as near. What then
    lies outside of the data set's range is unknown. Relative depth has no unit and keeps its values. The paper draws s
    from [1, 1.5]; we also shrink, and fill what comes in from outside by reflection.

    Args:
        factor: The greatest enlargement; the greatest reduction is 1 / factor.
        nearer: Whether metric depth is divided by s; else it keeps its values, as if the lens had zoomed.
        p: Probability.
    """
    return Geometric(p, partial(_scaled, factor), nearer)


@augmentations.register("perspective", source="torchvision, RandomPerspective", effect="geometric")
def perspective(
    *, distortion: Annotated[float, Field(ge=0, le=0.25), Range(0.01, 0.15)] = 0.05, p: Probability = 0.5
) -> Geometric:
    """Move each of the picture's corners by random parts of width and height, uniform in [-distortion, distortion].

    Args:
        distortion: The greatest part; up to 0.25 the corners stay those of a convex shape.
        p: Probability.
    """
    return Geometric(p, partial(_distorted, distortion))


def _mirrored_across(_: Random, __: int, width: int) -> Matrix:
    return np.array([[-1.0, 0, width - 1], [0, 1, 0], [0, 0, 1]])


def _mirrored_down(_: Random, height: int, __: int) -> Matrix:
    return np.array([[1.0, 0, 0], [0, -1, height - 1], [0, 0, 1]])


def _shifted(padding: float, random: Random, height: int, width: int) -> Matrix:
    across, down = round(padding * width), round(padding * height)
    return np.array([[1.0, 0, random.randint(-across, across)], [0, 1, random.randint(-down, down)], [0, 0, 1]])


def _rotated(degrees: float, random: Random, height: int, width: int) -> Matrix:
    angle = radians(random.uniform(-degrees, degrees))
    return _about_centre(cos(angle), sin(angle), height, width)


def _scaled(factor: float, random: Random, height: int, width: int) -> Matrix:
    return _about_centre(exp(random.uniform(-log(factor), log(factor))), 0.0, height, width)


def _about_centre(a: float, b: float, height: int, width: int) -> Matrix:
    """Return x' = a x + b y, y' = -b x + a y about the centre; y points down, so b > 0 rotates counter-clockwise."""
    x, y = (width - 1) / 2, (height - 1) / 2
    return np.array([[a, b, x - a * x - b * y], [-b, a, y + b * x - a * y], [0, 0, 1]])


def _distorted(distortion: float, random: Random, height: int, width: int) -> Matrix:
    corners = [(x - 0.5, y - 0.5) for x, y in ((0, 0), (width, 0), (width, height), (0, height))]
    moved = [
        (x + width * random.uniform(-distortion, distortion), y + height * random.uniform(-distortion, distortion))
        for x, y in corners
    ]
    found = cv2.getPerspectiveTransform(np.array(corners, np.float32), np.array(moved, np.float32))
    return np.asarray(found, np.float64)
