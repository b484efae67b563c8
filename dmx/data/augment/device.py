"""Augmentation on the device, one batch at a time, by kornia's functions on float pictures in [0, 1].

Each sample has its own draw, made on the host by Python's generator: torch's global random state is neither read nor
advanced, and there is no host-device synchronisation. Only noise is drawn on the device, by separate generators.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from random import Random
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from kornia.enhance import adjust_gamma
from kornia.filters import gaussian_blur2d
from kornia.geometry.transform import homography_warp
from torch import Tensor

from dmx.data.augment.known import kept_batch
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
from dmx.quartet import Batch, DepthSpec

Pictures = Float[Tensor, "N 3 H W"]


@dataclass(frozen=True)
class DeviceAugment:
    """(batch, seed) -> batch of the same size; made by `make_batch_augment`."""

    stages: tuple[Stage, ...]
    spec: DepthSpec

    def __call__(self, batch: Batch, seed: int) -> Batch:
        """Return the augmented batch; the given one is not modified.

        Args:
            batch: Pictures are RGB in [0, 1].
            seed: Seed of the batch's draws, 0 or more: a function of (seed of the run, epoch, number of the batch).
        """
        height, width = batch.image.shape[-2:]
        plans = [plan(self.stages, one, height, width) for one in sample_seeds(seed, len(batch))]
        for drawn in zip(*plans, strict=True):
            batch = _retouched(_divided(_warped(batch, drawn), drawn, self.spec), drawn)
        return batch


def make_batch_augment(steps: Sequence[Augmentation], spec: DepthSpec) -> DeviceAugment:
    """Make the per-batch augmentation that applies `steps` in order; `spec` describes the batches' depth."""
    return DeviceAugment(stages(steps), spec)


def sample_seeds(seed: int, count: int) -> list[int]:
    """Derive one seed per sample; `dmx.data.augment.cpu` makes the same changes with them, except for noise."""
    random = Random(seed)
    return [random.getrandbits(63) for _ in range(count)]


def _warped(batch: Batch, drawn: Sequence[Warp | Retouch | None]) -> Batch:
    """Warp all pictures of the samples that have a `Warp`."""
    rows = [row for row, one in enumerate(drawn) if isinstance(one, Warp)]
    if not rows:
        return batch
    height, width = batch.image.shape[-2:]
    matrices = [one.matrix for one in drawn if isinstance(one, Warp)]
    homographies = _sent(np.stack([_pull(one, height, width) for one in matrices]), batch.image)

    def moved(arrays: Sequence[Tensor], mode: str) -> list[Tensor]:
        together = torch.cat([array[rows].to(batch.image.dtype) for array in arrays], dim=1)
        # with align_corners, -1 and 1 are centres of border pixels and reflection is about them: BORDER_REFLECT_101
        warped = homography_warp(together, homographies, (height, width), mode, "reflection", align_corners=True)
        parts = warped.tensor_split(list(accumulate(array.shape[1] for array in arrays))[:-1], dim=1)
        return [_put(array, rows, part.to(array.dtype)) for array, part in zip(arrays, parts, strict=True)]

    pictures = moved([batch.image] if batch.background is None else [batch.image, batch.background], "bilinear")
    mask, mask_valid, depth, valid = moved([batch.mask, batch.mask_valid, batch.depth, batch.valid], "nearest")
    found = kept_batch(
        (batch.depth[rows], batch.valid[rows]), (depth[rows], valid[rows]), _sent(np.stack(matrices), batch.depth)
    )
    return replace(
        batch,
        image=pictures[0].clamp_(0, 1),  # interpolation weights may not sum to exactly 1
        background=None if batch.background is None else pictures[1].clamp_(0, 1),
        mask=mask,
        mask_valid=mask_valid,
        depth=_put(depth, rows, found[0]),
        valid=_put(valid, rows, found[1]),
    )


def _divided(batch: Batch, drawn: Sequence[Warp | Retouch | None], spec: DepthSpec) -> Batch:
    """Divide each sample's depth by its factor; values that leave the data set's range become unknown."""
    factors = {row: one.nearer for row, one in enumerate(drawn) if isinstance(one, Warp) and divides(one, spec.kind)}
    if not factors:
        return batch
    rows = list(factors)
    depth = batch.depth[rows] / _sent(np.array(list(factors.values())), batch.depth)[:, None, None, None]
    valid = batch.valid[rows] & (depth >= spec.low) & (depth <= spec.high)
    return replace(batch, depth=_put(batch.depth, rows, depth), valid=_put(batch.valid, rows, valid))


def _pull(matrix: Matrix, height: int, width: int) -> Matrix:
    """Return the homography from new to given coordinates, both in [-1, 1]; computed in float64 on the host."""
    x, y = max(width - 1, 1) / 2, max(height - 1, 1) / 2
    to_pixels = np.array([[x, 0, x], [0, y, y], [0, 0, 1]])
    pull: Matrix = np.linalg.inv(to_pixels) @ np.linalg.inv(matrix) @ to_pixels
    return pull


def _retouched(batch: Batch, drawn: Sequence[Warp | Retouch | None]) -> Batch:
    """Change the values of image and background of the samples that have a `Retouch`."""
    for role in ("image", "background"):
        pictures: Tensor | None = getattr(batch, role)
        found = [getattr(one, role) if isinstance(one, Retouch) else None for one in drawn]
        rows = [row for row, change in enumerate(found) if change is not None]
        if rows and pictures is not None:
            changed = _changed(pictures[rows], [change for change in found if change is not None])
            put: dict[str, Any] = {role: _put(pictures, rows, changed)}
            batch = replace(batch, **put)
    return batch


def _changed(pictures: Pictures, changes: Sequence[Change]) -> Pictures:
    """Apply one change to each picture; all changes are of one type, since they come from one augmentation."""
    change: Callable[[Pictures, Any], Pictures] = CHANGES[type(changes[0])]
    return change(pictures, changes)


def _colour(pictures: Pictures, changes: Sequence[Colour]) -> Pictures:
    # channel by channel, not as a matrix product, which autocast and TF32 would do in low precision
    weights = _sent(np.stack([change.matrix for change in changes]), pictures)[..., None, None]
    mixed = sum((weights[:, :, c] * pictures[:, c : c + 1] for c in range(3)), start=weights[:, :, 3])
    return mixed.clamp(0, 1)


def _power(pictures: Pictures, changes: Sequence[Power]) -> Pictures:
    return adjust_gamma(pictures, _sent(np.array([change.exponent for change in changes]), pictures))


def _noise(pictures: Pictures, changes: Sequence[Noise]) -> Pictures:
    def normal(change: Noise) -> Tensor:
        generator = torch.Generator(pictures.device).manual_seed(change.seed)
        shape = pictures.shape[1:]
        return change.std * torch.randn(shape, generator=generator, device=pictures.device, dtype=pictures.dtype)

    return (pictures + torch.stack([normal(change) for change in changes])).clamp(0, 1)


def _blur(pictures: Pictures, changes: Sequence[Blur]) -> Pictures:
    sigmas = _sent(np.array([[change.sigma, change.sigma] for change in changes]), pictures)
    return gaussian_blur2d(pictures, changes[0].fitted(*pictures.shape[-2:]), sigmas).clamp(0, 1)


CHANGES: dict[type[Change], Any] = {Colour: _colour, Power: _power, Noise: _noise, Blur: _blur}


def _sent(array: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(array).to(like.device, like.dtype, non_blocking=True)


def _put(whole: Tensor, rows: list[int], part: Tensor) -> Tensor:
    """Return a copy of `whole` with `part` in `rows`; the other rows stay bit-identical."""
    if len(rows) == len(whole):
        return part
    copy = whole.clone()
    copy[rows] = part
    return copy
