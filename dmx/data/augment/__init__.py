"""Augmentation that keeps the context: one draw for all pictures of a quartet, on the CPU or on the device.

A registered augmentation is a function of its parameters that returns a light description (`dmx.data.augment.steps`).
Two back ends carry descriptions out: `dmx.data.augment.cpu` sample by sample and `dmx.data.augment.device` by batches.
Importing this package loads neither of them, and so neither torch, albumentations nor kornia.
"""

from dmx.data.augment.geometric import horizontal_flip, perspective, random_crop, rotation, scale, vertical_flip
from dmx.data.augment.photometric import (
    brightness,
    contrast,
    gamma,
    gaussian_blur,
    gaussian_noise,
    grayscale,
    rgb_shift,
    saturation,
)
from dmx.data.augment.steps import Augmentation, Geometric, Photometric

__all__ = [
    "Augmentation",
    "Geometric",
    "Photometric",
    "brightness",
    "contrast",
    "gamma",
    "gaussian_blur",
    "gaussian_noise",
    "grayscale",
    "horizontal_flip",
    "perspective",
    "random_crop",
    "rgb_shift",
    "rotation",
    "saturation",
    "scale",
    "vertical_flip",
]
