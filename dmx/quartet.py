"""Core types: quartet, batch, prediction and depth specification.

Conventions: pictures are RGB; arrays of one sample are (H, W, C) in numpy, batches are (B, C, H, W) in torch. The four
pictures of a quartet come from one camera in one place and are always geometrically aligned.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, UInt8
from torch import Tensor

B = TypeVar("B", "Batch", "HostBatch")


@dataclass(frozen=True)
class DepthSpec:
    """How the depth values of a data set are to be interpreted.

    Attributes:
        kind: `metric` in metres, or `relative` without a unit.
        low: The least depth that occurs, in metres (`metric`), or 0 (`relative`).
        high: The greatest depth that occurs, in metres (`metric`), or 1 (`relative`).
        near: Which end is near: `low` as in metric depth, or `high` as in disparity.
    """

    kind: Literal["metric", "relative"]
    low: float
    high: float
    near: Literal["low", "high"] = "low"

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"`low` must be below `high`, but got low={self.low}, high={self.high}; swap them.")


@dataclass(frozen=True)
class Quartet:
    """One sample as arrays, before or after augmentation.

    `background` is None if the data set has none (a triplet). `mask` is 1 on the object and 0 elsewhere; it is unknown
    where `mask_valid` is False. `depth` is in the unit of the data set's `DepthSpec`; where `valid` is False it is
    unknown and its value has no meaning.
    """

    id: str
    group: str
    image: UInt8[np.ndarray, "H W 3"]
    background: UInt8[np.ndarray, "H W 3"] | None
    mask: UInt8[np.ndarray, "H W"]
    mask_valid: Bool[np.ndarray, "H W"]
    depth: Float32[np.ndarray, "H W"]
    valid: Bool[np.ndarray, "H W"]


@dataclass(frozen=True)
class Batch:
    """B quartets of one size as tensors, on the device; pictures are RGB in [0, 1], the rest is as in `Quartet`."""

    ids: tuple[str, ...]
    image: Float[Tensor, "B 3 H W"]
    background: Float[Tensor, "B 3 H W"] | None
    mask: Float[Tensor, "B 1 H W"]
    mask_valid: Bool[Tensor, "B 1 H W"]
    depth: Float[Tensor, "B 1 H W"]
    valid: Bool[Tensor, "B 1 H W"]

    def __len__(self) -> int:
        return len(self.ids)

    def split(self, micro_batches: int) -> list["Batch"]:
        """Split into `micro_batches` of almost equal size, or into fewer so that each has at least two samples."""
        micro_batches = max(1, min(micro_batches, len(self) // 2))
        if micro_batches == 1:
            return [self]
        ends = np.linspace(0, len(self), micro_batches + 1).astype(int).tolist()

        def micro_batch(start: int, end: int) -> "Batch":
            cut: dict[str, Any] = {n: v[start:end] for n, v in vars(self).items() if v is not None}
            return replace(self, **cut)

        return [micro_batch(start, end) for start, end in pairwise(ends)]

    def to(self, device: torch.device) -> "Batch":
        """Copy the batch to `device`."""
        return _changed(self, lambda tensor: tensor.to(device))


@dataclass(frozen=True)
class HostBatch:
    """B quartets in the compact form that loader processes return: bytes, a third of the memory of a `Batch`."""

    ids: tuple[str, ...]
    image: UInt8[Tensor, "B H W 3"]
    background: UInt8[Tensor, "B H W 3"] | None
    mask: UInt8[Tensor, "B H W"]
    mask_valid: Bool[Tensor, "B H W"]
    depth: Float32[Tensor, "B H W"]
    valid: Bool[Tensor, "B H W"]

    def pin_memory(self) -> "HostBatch":
        """Copy the batch to page-locked memory, which allows asynchronous copies to a GPU."""
        return _changed(self, Tensor.pin_memory)

    def to(self, device: torch.device, memory_format: torch.memory_format = torch.contiguous_format) -> Batch:
        """Copy the bytes to `device` and convert them there."""

        def picture(rgb: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B 3 H W"]:
            there = rgb.to(device, non_blocking=True).permute(0, 3, 1, 2)
            return torch.div(there, 255).contiguous(memory_format=memory_format)

        def plane(values: Tensor) -> Tensor:
            return values.to(device, non_blocking=True)[:, None]

        return Batch(
            ids=self.ids,
            image=picture(self.image),
            background=None if self.background is None else picture(self.background),
            mask=plane(self.mask).float(),
            mask_valid=plane(self.mask_valid),
            depth=plane(self.depth),
            valid=plane(self.valid),
        )


def _changed(batch: B, change: Callable[[Tensor], Tensor]) -> B:
    """Copy a batch with each of its tensors changed."""
    tensors: dict[str, Any] = {name: change(one) for name, one in vars(batch).items() if isinstance(one, Tensor)}
    return replace(batch, **tensors)


@dataclass(frozen=True)
class Prediction:
    """A network's output for a batch: the mask as logits, the depth in the unit of the data set's `DepthSpec`.

    The depth link (sigmoid, exp, ...) has been applied already. Both are float32.
    """

    mask_logits: Float[Tensor, "B 1 H W"]
    depth: Float[Tensor, "B 1 H W"]
