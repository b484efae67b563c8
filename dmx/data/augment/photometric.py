"""Augmentations that change the values of image and background, never those of mask and depth.

Values v are RGB in [0, 1], clipped to that range after each step. By default one draw is used for both pictures, so
pixels that are equal in image and background stay equal. With `apart` each picture has its own draw.
"""

from functools import partial
from math import ceil, exp, log
from random import Random
from typing import Annotated

import numpy as np
from pydantic import Field

from dmx.data.augment.steps import Blur, Change, Colour, Noise, Photometric, Power, Probability
from dmx.registry import Range, augmentations

LUMA = (0.299, 0.587, 0.114)
"""Luma weights of R, G and B (ITU-R BT.601), as in OpenCV and kornia."""


@augmentations.register("rgb_shift", source="albumentations, RGBShift", effect="photometric")
def rgb_shift(
    *,
    limit: Annotated[float, Field(ge=0, le=1), Range(0.01, 0.2)] = 0.08,
    p: Probability = 0.5,
    apart: bool = False,
) -> Photometric:
    """Add a random number to each channel, uniform in [-limit, limit]: v' = v + s_c.

    Args:
        limit: The greatest shift, as a part of the range of values; 0.08 is 20 of 255 grey levels.
        p: Probability.
        apart: Whether image and background each have a draw of their own.
    """
    return Photometric(p, partial(_channels_shifted, limit), apart)


@augmentations.register("brightness", source="albumentations, RandomBrightnessContrast", effect="photometric")
def brightness(
    *,
    limit: Annotated[float, Field(ge=0, le=1), Range(0.05, 0.4)] = 0.2,
    p: Probability = 0.5,
    apart: bool = False,
) -> Photometric:
    """Add one random number to all channels, uniform in [-limit, limit]: v' = v + s.

    Args:
        limit: The greatest shift, as a part of the range of values.
        p: Probability.
        apart: Whether image and background each have a draw of their own.
    """
    return Photometric(p, partial(_brightened, limit), apart)


@augmentations.register("contrast", source="torchvision, ColorJitter", effect="photometric")
def contrast(
    *,
    limit: Annotated[float, Field(ge=0, le=1), Range(0.05, 0.5)] = 0.2,
    p: Probability = 0.5,
    apart: bool = False,
) -> Photometric:
    """Spread the values about mid-grey by a random factor, uniform in [1 - limit, 1 + limit]: v' = c (v - ½) + ½.

    About mid-grey, not about the picture's own mean as in its source, for image and background differ in that.

    Args:
        limit: The greatest departure of the factor from 1.
        p: Probability.
        apart: Whether image and background each have a draw of their own.
    """
    return Photometric(p, partial(_spread, limit), apart)


@augmentations.register("saturation", source="torchvision, ColorJitter", effect="photometric")
def saturation(
    *,
    limit: Annotated[float, Field(ge=0, le=1), Range(0.05, 0.6)] = 0.3,
    p: Probability = 0.5,
    apart: bool = False,
) -> Photometric:
    """Spread each pixel's channels about its luma Y by a random factor in [1 - limit, 1 + limit]: v' = c (v - Y) + Y.

    Args:
        limit: The greatest departure of the factor from 1.
        p: Probability.
        apart: Whether image and background each have a draw of their own.
    """
    return Photometric(p, partial(_saturated, 1 - limit, 1 + limit), apart)


@augmentations.register("grayscale", source="torchvision, RandomGrayscale; ITU-R BT.601", effect="photometric")
def grayscale(*, p: Probability = 0.1, apart: bool = False) -> Photometric:
    """Replace all channels by the pixel's luma: v' = Y = 0.299 R + 0.587 G + 0.114 B.

    Args:
        p: Probability.
        apart: Whether image and background each have a draw of their own.
    """
    return Photometric(p, partial(_saturated, 0.0, 0.0), apart)


@augmentations.register("gamma", source="albumentations, RandomGamma", effect="photometric")
def gamma(
    *, exponent: Annotated[float, Field(ge=1, le=4), Range(1.05, 2)] = 1.25, p: Probability = 0.5, apart: bool = False
) -> Photometric:
    """Raise the values to a random power, its logarithm uniform in ±ln(exponent): v' = v^γ.

    Args:
        exponent: The greatest power, which darkens; the least is 1 / exponent.
        p: Probability.
        apart: Whether image and background each have a draw of their own.
    """
    return Photometric(p, partial(_raised, exponent), apart)


@augmentations.register("gaussian_noise", source="albumentations, GaussNoise", effect="photometric")
def gaussian_noise(
    *,
    std: Annotated[float, Field(ge=0, le=0.5), Range(0.005, 0.1, log=True)] = 0.03,
    p: Probability = 0.1,
    apart: bool = False,
) -> Photometric:
    """Add normal noise of a random deviation, uniform in [0, std], to each pixel and channel: v' = v + n.

    Args:
        std: The greatest deviation, as a part of the range of values.
        p: Probability.
        apart: Whether image and background each have noise of their own; else both have the very same.
    """
    return Photometric(p, partial(_noisy, std), apart)


@augmentations.register("gaussian_blur", source="torchvision, GaussianBlur", effect="photometric")
def gaussian_blur(
    *,
    sigma: Annotated[float, Field(ge=0.1, le=10), Range(0.3, 2, log=True)] = 1.0,
    p: Probability = 0.1,
    apart: bool = False,
) -> Photometric:
    """Blur by a Gaussian of a random deviation, uniform in [0.1, sigma] pixels, cut at three times the greatest.

    Args:
        sigma: The greatest deviation in pixels of the size that is trained on.
        p: Probability.
        apart: Whether image and background each have a draw of their own.
    """
    return Photometric(p, partial(_blurred, sigma), apart)


def _channels_shifted(limit: float, random: Random) -> Change:
    return Colour(np.column_stack([np.eye(3), [random.uniform(-limit, limit) for _ in range(3)]]))


def _brightened(limit: float, random: Random) -> Change:
    return Colour(np.column_stack([np.eye(3), np.full(3, random.uniform(-limit, limit))]))


def _spread(limit: float, random: Random) -> Change:
    c = random.uniform(1 - limit, 1 + limit)
    return Colour(np.column_stack([c * np.eye(3), np.full(3, (1 - c) / 2)]))


def _saturated(low: float, high: float, random: Random) -> Change:
    c = random.uniform(low, high)
    return Colour(np.column_stack([c * np.eye(3) + (1 - c) * np.tile(LUMA, (3, 1)), np.zeros(3)]))


def _raised(exponent: float, random: Random) -> Change:
    return Power(exp(random.uniform(-log(exponent), log(exponent))))


def _noisy(std: float, random: Random) -> Change:
    return Noise(random.uniform(0, std), random.getrandbits(63))


def _blurred(sigma: float, random: Random) -> Change:
    return Blur(random.uniform(0.1, sigma), 2 * ceil(3 * sigma) + 1)
