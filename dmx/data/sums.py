"""Sums over the samples of a data set: integer counts, which are exact, and a few sums in float64."""

from collections import Counter
from dataclasses import dataclass, field, fields

import numpy as np
from jaxtyping import Int64, UInt8

from dmx.data.layout import DatasetIndex
from dmx.data.reading import read_quartet
from dmx.quartet import Quartet

BINS = 4096
"""Bins of depth over the declared range; quantiles are exact to one bin."""
BARS = 32
"""Bins of depth and of coverage that are stored."""


@dataclass
class Sums:
    """Accumulated counts and sums."""

    image: Int64[np.ndarray, "3 256"] = field(default_factory=lambda: np.zeros((3, 256), np.int64))
    background: Int64[np.ndarray, "3 256"] = field(default_factory=lambda: np.zeros((3, 256), np.int64))
    pixels: int = 0
    depth: Int64[np.ndarray, "4096"] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    depth_sum: float = 0.0
    depth_squares: float = 0.0
    depth_least: float = np.inf
    depth_greatest: float = -np.inf
    coverage: Int64[np.ndarray, "32"] = field(default_factory=lambda: np.zeros(BARS, np.int64))
    coverage_sum: float = 0.0
    coverage_least: float = np.inf
    coverage_greatest: float = -np.inf
    sizes: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Sums") -> None:
        """Add the sums of later samples, in place."""
        for one in fields(self):
            ours, theirs = getattr(self, one.name), getattr(other, one.name)
            if one.name.endswith("_least"):
                ours = min(ours, theirs)
            else:
                ours = max(ours, theirs) if one.name.endswith("_greatest") else ours + theirs
            setattr(self, one.name, ours)


def summed(index: DatasetIndex, rows: range) -> Sums:
    """Compute the sums of a chunk of samples."""
    sums = Sums()
    for record in index.samples[rows.start : rows.stop]:
        _take(sums, read_quartet(index, record), index)
    return sums


def _take(sums: Sums, quartet: Quartet, index: DatasetIndex) -> None:
    height, width = quartet.mask.shape
    sums.sizes[f"{width}x{height}"] += 1
    sums.pixels += height * width
    sums.image += levels(quartet.image)
    if quartet.background is not None:
        sums.background += levels(quartet.background)
    known = np.count_nonzero(quartet.mask_valid)
    share = np.count_nonzero(quartet.mask) / known if known else 0.0
    sums.coverage[min(int(share * BARS), BARS - 1)] += 1
    sums.coverage_sum += share
    sums.coverage_least = min(sums.coverage_least, share)
    sums.coverage_greatest = max(sums.coverage_greatest, share)
    depth = quartet.depth[quartet.valid].astype(np.float64)
    if depth.size:
        low, high = index.depth.low, index.depth.high
        bins = ((depth - low) * (BINS / (high - low))).astype(np.int64).clip(0, BINS - 1)
        sums.depth += np.bincount(bins, minlength=BINS)
        sums.depth_sum += float(depth.sum())
        sums.depth_squares += float(np.square(depth).sum())
        sums.depth_least = min(sums.depth_least, float(depth.min()))
        sums.depth_greatest = max(sums.depth_greatest, float(depth.max()))


def levels(picture: UInt8[np.ndarray, "H W 3"]) -> Int64[np.ndarray, "3 256"]:
    """Compute the histogram of each channel."""
    return np.stack([np.bincount(picture[..., channel].ravel(), minlength=256) for channel in range(3)])
