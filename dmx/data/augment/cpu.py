"""Augmentation on the CPU, one sample at a time, by albumentations' functions on uint8 pictures.

The only file that imports albumentations. It uses albumentations' functions but not `Compose`, whose transforms draw
their own random numbers: the same ones in every worker process, in several transforms different ones for image and
background, and never the ones that kornia draws. Mask, depth and their validity masks are warped as one array, so that
they stay aligned.
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

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # its import otherwise makes a network request, which takes 2 s

from albumentations.augmentations.geometric.functional import perspective
from albumentations.augmentations.pixel.functional import separable_convolve

Picture = UInt8[np.ndarray, "H W 3"]
Apply = Callable[[Picture], Picture]

MASK, MASK_VALID, VALID = 1, 2, 4
"""Bit flags that pack three binary planes into one channel for warping."""


@dataclass(frozen=True)
class CpuAugment:
    """(quartet, seed) -> quartet of the same size; made by `make_augment`. Picklable."""

    stages: tuple[Stage, ...]
    spec: DepthSpec

    def __call__(self, quartet: Quartet, seed: int) -> Quartet:
        """Return the augmented sample; the given one is not modified.

        Args:
            quartet: The sample.
            seed: Seed of the draw, 0 or more. The same seed gives the same result, in any process.
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
    """Make the per-sample augmentation that applies `steps` in order; `spec` describes the samples' depth."""
    return CpuAugment(stages(steps), spec)


def warped(quartet: Quartet, matrix: Matrix) -> Quartet:
    """Move the pixels of all pictures by a homography (given -> new, in pixels)."""
    move = _move(matrix, *quartet.depth.shape)
    flags = quartet.mask * np.uint8(MASK) | quartet.mask_valid * np.uint8(MASK_VALID) | quartet.valid * np.uint8(VALID)
    # the flags are repeated to get four channels: at 192x192 OpenCV warps two in 236 us, three in 71, four in 52
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
    """Divide depth by `factor`; values that leave the data set's range become unknown rather than clipped."""
    depth = quartet.depth / np.float32(factor)
    return replace(quartet, depth=depth, valid=quartet.valid & (depth >= spec.low) & (depth <= spec.high))


def _moved_picture(picture: Picture, move: Callable[[np.ndarray, int], np.ndarray]) -> Picture:
    """Warp a picture with a fourth channel added: the same result in 123 us instead of 197 at 192x192."""
    moved = move(cv2.cvtColor(picture, cv2.COLOR_RGB2RGBA), cv2.INTER_LINEAR)
    return cv2.cvtColor(moved, cv2.COLOR_RGBA2RGB)


def _move(matrix: Matrix, height: int, width: int) -> Callable[[np.ndarray, int], np.ndarray]:
    """Return the warp for arrays of this size: the cheapest of three implementations with equal results."""
    if abs(matrix[0, 0]) == matrix[1, 1] == 1 and not matrix[[0, 1, 2, 2], [1, 0, 0, 1]].any():
        return partial(_shifted, mirrored=bool(matrix[0, 0] < 0), right=int(matrix[0, 2]), down=int(matrix[1, 2]))
    if not matrix[2, :2].any():
        # not albumentations' function, which spends 30 us on checking for an identity matrix
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
    """Flip or shift by whole pixels: no interpolation, and a tenth of the time of a warp."""
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
    """Return the function that applies `change`; its tables and kernels are computed once for both pictures."""
    match change:
        case None:
            return lambda picture: picture
        case Colour(matrix):
            return lambda picture: cv2.transform(picture, matrix * (1, 1, 1, 255))
        case Power(exponent):
            table = np.rint(255 * (np.arange(256) / 255) ** exponent).astype(np.uint8)
            return lambda picture: cv2.LUT(picture, table)
        case Noise(std, seed):
            # OpenCV draws in a quarter of numpy's time, and rounds; albumentations' `add_noise` truncates
            cv2.setRNGSeed(seed % 2**31)
            noise = np.empty(shape, np.int16)
            cv2.randn(noise.reshape(-1), np.zeros(1), np.array([255 * std]))
            return lambda picture: cv2.add(picture, noise, dtype=cv2.CV_8U)
        case Blur(sigma):
            kernel = cv2.getGaussianKernel(change.fitted(*shape[:2]), sigma)
            return lambda picture: separable_convolve(picture, kernel)
