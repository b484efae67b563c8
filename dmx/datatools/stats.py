"""Statistics of a data set: one pass over all samples, stored as `stats.json` in its folder.

Pictures and depth are accumulated in integer histograms, which are exact; float64 sums (depth, coverage) are added
chunk by chunk in the order of the samples. So the result does not depend on the number of processes.
"""

import math
import os
from collections import Counter
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from dmx.data.chunks import each_chunk
from dmx.data.colours import Triple, moments
from dmx.data.layout import DatasetIndex, read
from dmx.data.sums import BARS, BINS, Sums, summed
from dmx.data.writing import Progress
from dmx.errors import DataError
from dmx.stored import replacing

FILE = "stats.json"
QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)


def counted(histogram: tuple[int, ...]) -> tuple[int, ...]:
    """Check that a histogram has a count of each of its bins, and something in it.

    Raises:
        ValueError: It has not.
    """
    if len(histogram) != BARS or min(histogram) < 0 or not any(histogram):
        raise ValueError(f"not the counts of {BARS} bins")
    return histogram


Histogram = Annotated[tuple[int, ...], AfterValidator(counted)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class DepthStats(_Frozen):
    """Depth over all valid pixels, in the data set's unit."""

    valid: float
    """The share of pixels of which depth is known."""
    mean: float
    deviation: float
    quantiles: dict[Annotated[str, Field(pattern=r"^[01](\.[0-9]+)?$")], float]
    """Depth by the share of pixels that is not beyond it; to a 4,096th of the declared range."""
    histogram: Histogram
    """Valid pixels in 32 equal bins over the declared range."""
    range: tuple[float, float]
    """The declared range."""


class CoverageStats(_Frozen):
    """The share of known pixels that the mask covers, over samples."""

    mean: float
    least: float
    greatest: float
    histogram: Histogram
    """Samples in 32 equal bins from 0 to 1."""


class Stats(_Frozen):
    """What `stats.json` holds; means and deviations of pictures are of RGB in [0, 1] over all pixels of all samples."""

    fingerprint: str
    """The fingerprint of the data; where it is another now, the rest is out of date."""
    stamp: str = ""
    """When the files of the data were changed last (`DatasetIndex.stamp`); empty where that is not known."""
    name: str
    samples: int
    image_mean: Triple
    image_std: Triple
    background_mean: Triple | None
    """A background counts as often as samples show it."""
    background_std: Triple | None
    depth: DepthStats | None
    coverage: CoverageStats
    sizes: dict[str, int]
    """Samples by width x height, the most frequent first."""
    splits: dict[str, int]
    """Samples by part of the official split; empty where there is none."""
    groups: dict[str, int]
    """Samples by group."""


def stats(index: DatasetIndex, *, workers: int | None = None, progress: Progress | None = None) -> Stats:
    """Compute statistics in one pass over all samples.

    Args:
        index: The data set.
        workers: Processes; None takes one per core where the work is worth it.
        progress: Called with how many samples of how many are done.

    Raises:
        DataError: A sample cannot be read; `dmx data check` lists all of them.
    """
    total = Sums()
    for sums in each_chunk(summed, index, workers=workers, progress=progress):
        total.add(sums)
    image, background = moments(total.image), moments(total.background)
    return Stats(
        fingerprint=index.fingerprint(),
        stamp=index.stamp,
        name=index.name,
        samples=len(index.samples),
        image_mean=image[0],
        image_std=image[1],
        background_mean=background[0] if index.has_background else None,
        background_std=background[1] if index.has_background else None,
        depth=_depth(index, total),
        coverage=CoverageStats(
            mean=total.coverage_sum / len(index.samples),
            least=total.coverage_least,
            greatest=total.coverage_greatest,
            histogram=tuple(total.coverage.tolist()),
        ),
        sizes=dict(total.sizes.most_common()),
        splits=_counts(index, "split"),
        groups=_counts(index, "group"),
    )


def _depth(index: DatasetIndex, total: Sums) -> DepthStats | None:
    """Compute depth statistics; None if no sample has depth."""
    count = int(total.depth.sum())
    if not count:
        return None
    mean = total.depth_sum / count
    low, high = index.depth.low, index.depth.high
    reached = np.searchsorted(total.depth.cumsum(), [share * count for share in QUANTILES[1:-1]])
    middles = low + (reached + 0.5) * (high - low) / BINS
    quantiles = [total.depth_least, *middles.tolist(), total.depth_greatest]
    return DepthStats(
        valid=count / total.pixels,
        mean=mean,
        deviation=math.sqrt(max(0.0, total.depth_squares / count - mean**2)),
        quantiles={f"{share:g}": value for share, value in zip(QUANTILES, quantiles, strict=True)},
        histogram=tuple(total.depth.reshape(BARS, -1).sum(axis=1).tolist()),
        range=(low, high),
    )


def _counts(index: DatasetIndex, column: str) -> dict[str, int]:
    """Count samples by the values of a column, without null."""
    counts = Counter(value for value in index.samples.column(column) if value)
    return dict(sorted(counts.items()))


def read_stats(root: Path) -> Stats | None:
    """Read the `stats.json` of a data set, which may be out of date; `current_stats` compares fingerprints.

    Returns:
        The statistics; None if there is no such file.

    Raises:
        DataError: The file exists but cannot be read.
    """
    path = root / FILE
    try:
        return Stats.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise DataError(
            f"{path}: cannot be read as statistics ({type(error).__name__}); remove it and run `dmx data stats {root}`."
        ) from error


def current_stats(index: DatasetIndex) -> Stats | None:
    """Read the `stats.json` of a data set where it is up to date.

    Returns:
        The statistics; None if there are none, or if the data have changed since.

    Raises:
        DataError: The file exists but cannot be read.
    """
    found = read_stats(index.root)
    return None if found is None or (found.fingerprint, found.stamp) != (index.fingerprint(), index.stamp) else found


def write_stats(root: Path, found: Stats) -> None:
    """Write `stats.json` atomically.

    Raises:
        DataError: The folder cannot be written to.
    """
    path = root / FILE
    try:
        with replacing(path, path.with_name(f".{FILE}-{os.getpid()}")) as beside:
            beside.write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written ({error.strerror}), so the statistics are not kept; make the folder writable, "
            "or link its files into one of your own."
        ) from error


def copy_stats(found: Stats, pack: Path) -> None:
    """Copy a data set's statistics, computed at full size, to a pack, unless the pack has its own."""
    if current_stats(packed := read(pack)) is None:
        write_stats(pack, found.model_copy(update={"fingerprint": packed.fingerprint(), "stamp": packed.stamp}))
