"""Augmentations that change the values of image and background, never those of mask and depth.

Values v are RGB in [0, 1], clipped to that range after each step. By default one draw is used for both pictures, so
pixels that are equal in image and background stay equal. With `apart` each picture has its own draw.
"""

from collections.abc import Callable
from functools import partial
from math import ceil, exp, log
from random import Random
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from dmx.data.augment.steps import Blur, Change, Colour, Noise, Photometric, Power, Probability
from dmx.registry import Range, Setting, augmentations, described

LUMA = (0.299, 0.587, 0.114)
"""Luma weights of R, G and B (ITU-R BT.601), as in OpenCV and kornia."""


def row(
    name: str,
    source: str,
    draw: Callable[..., Change],
    summary: str,
    p: float = 0.5,
    apart: str = "Whether image and background each have a draw of their own.",
    **settings: Setting,
) -> Callable[..., Photometric]:
    """Register an augmentation; `draw` takes its parameter, if any, and a random generator, and returns the change."""

    def build(**given: Any) -> Photometric:
        values = {key: setting.default for key, setting in settings.items()} | given
        chance, each_its_own = values.pop("p"), values.pop("apart")
        return Photometric(chance, partial(draw, *values.values()), each_its_own)

    settings |= {"p": Setting(Probability, p, "Probability."), "apart": Setting(bool, False, apart)}
    return augmentations.register(name, source=source, effect="photometric")(described(build, name, summary, settings))


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


def _saturation(limit: float, random: Random) -> Change:
    return _saturated(1 - limit, 1 + limit, random)


def _raised(exponent: float, random: Random) -> Change:
    return Power(exp(random.uniform(-log(exponent), log(exponent))))


def _noisy(std: float, random: Random) -> Change:
    return Noise(random.uniform(0, std), random.getrandbits(63))


def _blurred(sigma: float, random: Random) -> Change:
    return Blur(random.uniform(0.1, sigma), 2 * ceil(3 * sigma) + 1)


# fmt: off
rgb_shift = row(
    "rgb_shift", "albumentations, RGBShift", _channels_shifted,
    "Add a random number to each channel, uniform in [-limit, limit]: v' = v + s_c.",
    limit=Setting(Annotated[float, Field(ge=0, le=1), Range(0.01, 0.2)], 0.08,
                  "The greatest shift, as a part of the range of values; 0.08 is 20 of 255 grey levels."))
brightness = row(
    "brightness", "albumentations, RandomBrightnessContrast", _brightened,
    "Add one random number to all channels, uniform in [-limit, limit]: v' = v + s.",
    limit=Setting(Annotated[float, Field(ge=0, le=1), Range(0.05, 0.4)], 0.2,
                  "The greatest shift, as a part of the range of values."))
contrast = row(
    "contrast", "torchvision, ColorJitter", _spread,
    """Spread the values about mid-grey by a random factor, uniform in [1 - limit, 1 + limit]: v' = c (v - ½) + ½.

About mid-grey, not about the picture's own mean as in its source, for image and background differ in that.""",
    limit=Setting(Annotated[float, Field(ge=0, le=1), Range(0.05, 0.5)], 0.2,
                  "The greatest departure of the factor from 1."))
saturation = row(
    "saturation", "torchvision, ColorJitter", _saturation,
    "Spread each pixel's channels about its luma Y by a random factor in [1 - limit, 1 + limit]: v' = c (v - Y) + Y.",
    limit=Setting(Annotated[float, Field(ge=0, le=1), Range(0.05, 0.6)], 0.3,
                  "The greatest departure of the factor from 1."))
grayscale = row(
    "grayscale", "torchvision, RandomGrayscale; ITU-R BT.601", partial(_saturated, 0.0, 0.0),
    "Replace all channels by the pixel's luma: v' = Y = 0.299 R + 0.587 G + 0.114 B.", p=0.1)
gamma = row(
    "gamma", "albumentations, RandomGamma", _raised,
    "Raise the values to a random power, its logarithm uniform in ±ln(exponent): v' = v^γ.",
    exponent=Setting(Annotated[float, Field(ge=1, le=4), Range(1.05, 2)], 1.25,
                     "The greatest power, which darkens; the least is 1 / exponent."))
gaussian_noise = row(
    "gaussian_noise", "albumentations, GaussNoise", _noisy,
    "Add normal noise of a random deviation, uniform in [0, std], to each pixel and channel: v' = v + n.",
    p=0.1, apart="Whether image and background each have noise of their own; else both have the very same.",
    std=Setting(Annotated[float, Field(ge=0, le=0.5), Range(0.005, 0.1, log=True)], 0.03,
                "The greatest deviation, as a part of the range of values."))
gaussian_blur = row(
    "gaussian_blur", "torchvision, GaussianBlur", _blurred,
    "Blur by a Gaussian of a random deviation, uniform in [0.1, sigma] pixels, cut at three times the greatest.", p=0.1,
    sigma=Setting(Annotated[float, Field(ge=0.1, le=10), Range(0.3, 2, log=True)], 1.0,
                  "The greatest deviation in pixels of the size that is trained on."))
# fmt: on
