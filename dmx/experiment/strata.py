"""Metrics by depth range and by how much of the picture the object takes."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import torch

from dmx.metrics.evaluator import components, finite
from dmx.metrics.pixels import DepthPixels, MaskPixels
from dmx.quartet import Batch, DepthSpec, Prediction

SIZES = {"no object": 0.0, "under 1 %": 0.01, "1 to 5 %": 0.05, "5 to 20 %": 0.2, "over 20 %": float("inf")}
"""Shares of the picture, each up to and with its end (the last but one row without)."""
WHOLE = ("checkerboard",)
"""Looks at neighbours, so that a range of depth cuts it to pieces."""

Range = tuple[float, float]
Row = dict[str, float | int | str | None]


def ranges_of(spec: DepthSpec) -> list[Range]:
    """Where depth is looked at by itself: octaves of metres, or quarters of relative depth."""
    if spec.kind == "relative":
        return [(k / 4, (k + 1) / 4) for k in range(4)]
    edges = [spec.low]
    while edges[-1] < spec.high:
        edges.append(min(spec.high, 2.0 ** (int(torch.tensor(edges[-1]).log2().floor()) + 1)))
    return list(pairwise(edges))


@dataclass(frozen=True)
class Strata:
    """Sums over the pixels of each depth range, and over the samples of each mask size.

    Attributes:
        ranges: Of depth; each with its low end, the last one with its high end, too.
        spec: How depth is to be read.
    """

    ranges: Sequence[Range]
    spec: DepthSpec
    depth: dict[Range, dict[str, torch.Tensor]] = field(default_factory=lambda: defaultdict(dict))
    mask: dict[str, dict[str, torch.Tensor]] = field(default_factory=lambda: defaultdict(dict))
    counts: dict[Any, int] = field(default_factory=lambda: defaultdict(int))

    def take(self, prediction: Prediction, batch: Batch) -> None:
        """Take in a batch."""
        known = {name: c.function for name, c in components(self.spec).items()}
        pixels = DepthPixels.of(prediction, batch)
        for span in self.ranges:
            low, high = span
            last = span == self.ranges[-1]
            inside = pixels.valid & (pixels.t >= low) & ((pixels.t <= high) if last else (pixels.t < high))
            there = replace(pixels, valid=inside)
            self.counts[span] += int(inside.sum())
            for name, function in known.items():
                if name.startswith("depth/") and name.removeprefix("depth/") not in WHOLE:
                    self._add(self.depth[span], name, function(there).sum(0))
        masks = MaskPixels.of(prediction, batch)
        share = (batch.mask * batch.mask_valid).sum((1, 2, 3)) / batch.mask_valid.sum((1, 2, 3)).clamp(min=1)
        sizes = [size_of(float(one)) for one in share]
        for name, function in known.items():
            if name.startswith("mask/"):
                for size, sums in zip(sizes, function(masks), strict=True):
                    self._add(self.mask[size], name, sums)
        for size in sizes:
            self.counts[size] += 1

    def by_depth(self) -> Iterator[Row]:
        """One row for each range: its ends, its pixels, and every depth metric over them."""
        for low, high in self.ranges:
            values = self._finished(self.depth.get((low, high), {}))
            yield {"low": low, "high": high, "pixels": self.counts[low, high], **values}

    def by_size(self) -> Iterator[Row]:
        """One row for each size that occurs: its samples, and every mask metric pooled over them."""
        for size in SIZES:
            if size in self.mask:
                yield {"object": size, "samples": self.counts[size], **self._finished(self.mask[size])}

    def _add(self, sums: dict[str, torch.Tensor], name: str, more: torch.Tensor) -> None:
        sums[name] = sums[name] + more if name in sums else more

    def _finished(self, sums: dict[str, torch.Tensor]) -> dict[str, float | None]:
        known = components(self.spec)
        return {f"{name}_pooled": finite(known[name].facts["finish"](total.cpu())) for name, total in sums.items()}


def size_of(share: float) -> str:
    """The name of the size of an object that takes this share of the picture."""
    if share == 0:
        return "no object"
    return next(name for name, end in SIZES.items() if name != "no object" and share <= end)
