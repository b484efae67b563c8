"""Augmentation on the CPU, one sample at a time, by albumentations' functions on uint8 pictures.

The only file that imports albumentations. Its functions are used, not its `Compose`: the transforms of a `Compose` draw
their numbers themselves, in worker processes each the same ones, several of them other ones for image and background,
and none as kornia draws them. Mask, depth and where they are known are warped as one array of two channels, so that
they cannot part.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import cv2
import numpy as np
from jaxtyping import UInt8

from dmx.data.augment.known import kept
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
    divides,
    plan,
    stages,
)
from dmx.quartet import DepthSpec, Quartet

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # saves 2 s and a call over the network at its import

from albumentations.augmentations.geometric.functional import perspective
from albumentations.augmentations.pixel.functional import separable_convolve

Picture = UInt8[np.ndarray, "H W 3"]
Apply = Callable[[Picture], Picture]

MASK, MASK_VALID, VALID = 1, 2, 4
"""The bits by which three planes share one channel while they are warped."""


@dataclass(frozen=True)
class CpuAugment:
    """(quartet, seed) -> quartet of the same size; made by `make_augment`. It can be sent to other processes."""

    stages: tuple[Stage, ...]
    spec: DepthSpec

    def __call__(self, quartet: Quartet, seed: int) -> Quartet:
        """Augment one sample.

        Args:
            quartet: The sample; it is left as it is.
            seed: Of the draw, 0 or more. The same seed gives the same result, in any process.
        """
        for drawn in plan(self.stages, seed, *quartet.depth.shape):
            if isinstance(drawn, Warp):
                quartet = warped(quartet, drawn.matrix)
                if divides(drawn, self.spec.kind):
                    quartet = divided(quartet, drawn.nearer, self.spec)
            elif drawn is not None:
                quartet = retouched(quartet, drawn)
        return quartet


def make_augment(steps: Sequence[Augmentation], spec: DepthSpec) -> CpuAugment:
    """Make the augmentation of single samples, whose depth is as `spec` says, from steps that are applied in order."""
    return CpuAugment(stages(steps), spec)


def warped(quartet: Quartet, matrix: Matrix) -> Quartet:
    """Move the pixels of all pictures by a homography (given -> new, in pixels)."""
    move = _move(matrix, *quartet.depth.shape)
    flags = quartet.mask * np.uint8(MASK) | quartet.mask_valid * np.uint8(MASK_VALID) | quartet.valid * np.uint8(VALID)
    # four channels, as OpenCV takes 236 us to warp two at 192x192, 71 for three and 52 for four
    moved = move(cv2.merge([quartet.depth, *[flags.astype(np.float32)] * 3]), cv2.INTER_NEAREST)
    flags = moved[..., 1].astype(np.uint8)
    depth, valid = np.ascontiguousarray(moved[..., 0]), (flags & np.uint8(VALID)).astype(bool)
    kept((quartet.depth, quartet.valid), (depth, valid), matrix)
    background = quartet.background
    return replace(
        quartet,
        image=_moved_picture(quartet.image, move),
        background=None if background is None else _moved_picture(background, move),
        mask=flags & np.uint8(MASK),
        mask_valid=(flags & np.uint8(MASK_VALID)).astype(bool),
        depth=depth,
        valid=valid,
    )


def divided(quartet: Quartet, factor: float, spec: DepthSpec) -> Quartet:
    """Bring all nearer: depth by `factor`; what leaves the range of the data set is unknown, never put to its end."""
    depth = quartet.depth / np.float32(factor)
    return replace(quartet, depth=depth, valid=quartet.valid & (depth >= spec.low) & (depth <= spec.high))


def _moved_picture(picture: Picture, move: Callable[[np.ndarray, int], np.ndarray]) -> Picture:
    """The same numbers as in three channels, in two thirds of the time: 123 us instead of 197 at 192x192."""
    moved = move(cv2.cvtColor(picture, cv2.COLOR_RGB2RGBA), cv2.INTER_LINEAR)
    return cv2.cvtColor(moved, cv2.COLOR_RGBA2RGB)


def _move(matrix: Matrix, height: int, width: int) -> Callable[[np.ndarray, int], np.ndarray]:
    """What moves an array of that size; the cheapest of three ways that give the same numbers."""
    if abs(matrix[0, 0]) == matrix[1, 1] == 1 and not matrix[[0, 1, 2, 2], [1, 0, 0, 1]].any():
        return partial(_shifted, mirrored=bool(matrix[0, 0] < 0), right=int(matrix[0, 2]), down=int(matrix[1, 2]))
    if not matrix[2, :2].any():
        # not albumentations' function, which first asks for 30 us whether the matrix is the identity
        return lambda array, interpolation: cv2.warpAffine(
            array, matrix[:2], (width, height), flags=interpolation, borderMode=cv2.BORDER_REFLECT_101
        )
    return lambda array, interpolation: perspective(
        array,
        matrix,
        width,
        height,
        0,
        keep_size=False,
        interpolation=interpolation,
        border_mode=cv2.BORDER_REFLECT_101,
    )


def _shifted(array: np.ndarray, _: int, *, mirrored: bool, right: int, down: int) -> np.ndarray:
    """Flips and crops move by whole pixels: no interpolation, and a tenth of the time of a warp."""
    height, width = array.shape[:2]
    if mirrored:
        array, right = cv2.flip(array, 1), right - (width - 1)
    above, left, below, behind = max(down, 0), max(right, 0), max(-down, 0), max(-right, 0)
    padded = cv2.copyMakeBorder(array, above, below, left, behind, cv2.BORDER_REFLECT_101)
    return padded[below : below + height, behind : behind + width]


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
            # OpenCV draws in a quarter of numpy's time, and rounds; albumentations' `add_noise` cuts fractions off
            cv2.setRNGSeed(seed % 2**31)
            noise = np.empty(shape, np.int16)
            cv2.randn(noise.reshape(-1), np.zeros(1), np.array([255 * std]))
            return lambda picture: cv2.add(picture, noise, dtype=cv2.CV_8U)
        case Blur(sigma):
            kernel = cv2.getGaussianKernel(change.fitted(*shape[:2]), sigma)
            return lambda picture: separable_convolve(picture, kernel)
