"""Augmentation on the CPU, one sample at a time, by albumentations' functions on uint8 pictures.

The only file that imports albumentations. Its functions are used, not its `Compose`: the transforms of a `Compose` draw
their numbers themselves, in worker processes each the same ones, several of them other ones for image and background,
and none as kornia draws them. Mask, depth and where they are known are warped as one array of two channels, so that
they cannot part.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import UInt8

from dmx.data.augment.steps import (
    Augmentation,
    Blur,
    Change,
    Colour,
    Matrix,
    Noise,
    Power,
    Retouch,
    Stage,
    Warp,
    plan,
    stages,
)
from dmx.quartet import Quartet

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # saves 2 s and a call over the network at its import

from albumentations.augmentations.geometric.functional import perspective
from albumentations.augmentations.pixel.functional import add_noise, separable_convolve

Picture = UInt8[np.ndarray, "H W 3"]
Apply = Callable[[Picture], Picture]

MASK, MASK_VALID, VALID = 1, 2, 4
"""The bits by which three planes share one channel while they are warped."""


@dataclass(frozen=True)
class CpuAugment:
    """(quartet, seed) -> quartet of the same size; made by `make_augment`. It can be sent to other processes."""

    stages: tuple[Stage, ...]

    def __call__(self, quartet: Quartet, seed: int) -> Quartet:
        """Augment one sample.

        Args:
            quartet: The sample; it is left as it is.
            seed: Of the draw, 0 or more. The same seed gives the same result, in any process.
        """
        for drawn in plan(self.stages, seed, *quartet.depth.shape):
            if isinstance(drawn, Warp):
                quartet = warped(quartet, drawn.matrix)
            elif drawn is not None:
                quartet = retouched(quartet, drawn)
        return quartet


def make_augment(steps: Sequence[Augmentation]) -> CpuAugment:
    """Make the augmentation of single samples from its steps, which are applied in their order."""
    return CpuAugment(stages(steps))


def warped(quartet: Quartet, matrix: Matrix) -> Quartet:
    """Move the pixels of all pictures by a homography (given -> new, in pixels)."""
    flags = quartet.mask * np.uint8(MASK) | quartet.mask_valid * np.uint8(MASK_VALID) | quartet.valid * np.uint8(VALID)
    planes = cv2.merge([quartet.depth, flags.astype(np.float32)])
    depth, moved = cv2.split(_moved(planes, matrix, cv2.INTER_NEAREST))
    flags = moved.astype(np.uint8)
    background = quartet.background
    return replace(
        quartet,
        image=_moved(quartet.image, matrix, cv2.INTER_LINEAR),
        background=None if background is None else _moved(background, matrix, cv2.INTER_LINEAR),
        mask=flags & np.uint8(MASK),
        mask_valid=(flags & np.uint8(MASK_VALID)).astype(bool),
        depth=depth,
        valid=(flags & np.uint8(VALID)).astype(bool),
    )


def _moved(array: np.ndarray, matrix: Matrix, interpolation: int) -> np.ndarray:
    height, width = array.shape[:2]
    moved: np.ndarray = perspective(
        array,
        matrix,
        max_width=width,
        max_height=height,
        border_val=0,
        border_mode=cv2.BORDER_REFLECT_101,
        keep_size=False,
        interpolation=interpolation,
    )
    return moved


def retouched(quartet: Quartet, drawn: Retouch) -> Quartet:
    """Change the values of image and background."""
    shape = quartet.image.shape
    on_image = _prepared(drawn.image, shape)
    on_background = on_image if drawn.background is drawn.image else _prepared(drawn.background, shape)
    background = quartet.background
    return replace(
        quartet,
        image=on_image(quartet.image),
        background=None if background is None else on_background(background),
    )


def _prepared(change: Change | None, shape: tuple[int, ...]) -> Apply:
    """The function that makes the change; what it needs is made once for both pictures."""
    match change:
        case None:
            return lambda picture: picture
        case Colour(matrix):
            return lambda picture: cv2.transform(picture, matrix * (1, 1, 1, 255))
        case Power(exponent):
            table = np.rint(255 * (np.arange(256) / 255) ** exponent).astype(np.uint8)
            return lambda picture: cv2.LUT(picture, table)
        case Noise(std, seed):
            drawn = np.random.Generator(np.random.SFC64(seed)).standard_normal(shape, np.float32)
            noise = np.rint(drawn * np.float32(255 * std))  # `add_noise` cuts fractions off, which would darken
            return lambda picture: add_noise(picture, noise)
        case Blur(sigma):
            kernel = cv2.getGaussianKernel(change.fitted(*shape[:2]), sigma)
            return lambda picture: separable_convolve(picture, kernel)
