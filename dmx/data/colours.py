"""Mean and standard deviation of colours, for normalisation: of training samples only, never of validation or test."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
from filelock import FileLock
from jaxtyping import Int64

from dmx.data.chunks import CHUNK
from dmx.data.decoding import colour
from dmx.data.layout import DatasetIndex
from dmx.data.pack.read import PackReader
from dmx.data.processes import in_threads
from dmx.data.sums import levels
from dmx.data.writing import Progress
from dmx.stored import replace_text

Triple = tuple[float, float, float]


def colours(index: DatasetIndex, ids: Sequence[str], *, progress: Progress | None = None) -> tuple[Triple, Triple]:
    """Compute mean and standard deviation of red, green and blue in [0, 1] over all pixels of the samples' images.

    They are computed from integer histograms, so the result is bit-identical for any order of the samples.

    Args:
        index: The data set, or a pack (pictures then have the pack's size).
        ids: The samples.
        progress: Called with (samples done, samples in total).

    Raises:
        DataError: A picture cannot be read.
    """
    rows = np.sort(index.samples.rows(ids))
    chunks = [rows[first : first + CHUNK] for first in range(0, len(rows), CHUNK)]
    total, done = np.zeros((3, 256), np.int64), 0
    for chunk, found in zip(chunks, in_threads(partial(_counted, index), chunks), strict=True):
        total += found
        done += len(chunk)
        if progress is not None:
            progress(done, len(rows))
    return moments(total)


def moments(levels: Int64[np.ndarray, "3 256"]) -> tuple[Triple, Triple]:
    """Compute mean and standard deviation of each channel in [0, 1] from its 256-bin histogram."""
    values = np.arange(256) / 255
    count = levels.sum(axis=1).clip(1)
    mean = levels @ values / count
    deviation = np.sqrt((levels * np.square(values - mean[:, None])).sum(axis=1) / count)
    (m0, m1, m2), (s0, s1, s2) = mean.tolist(), deviation.tolist()
    return (m0, m1, m2), (s0, s1, s2)


def _counted(index: DatasetIndex, rows: Int64[np.ndarray, "N"]) -> Int64[np.ndarray, "3 256"]:
    """Compute the histogram of each channel over the images in these rows."""
    pack = None if index.pack is None else PackReader(index.root, index.pack, index.declaration.depth)
    total = np.zeros((3, 256), np.int64)
    for row in map(int, rows):
        image = pack.quartet(row).image if pack is not None else colour(index.pictures / index.samples[row].image)
        total += levels(image)
    return total


def kept_colours(
    index: DatasetIndex, ids: Sequence[str], path: Path, *, progress: Progress | None = None
) -> tuple[Triple, Triple]:
    """Return `colours`, cached at `path`; the file name has to identify the data and the samples."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):  # another run may be counting the same
        try:
            mean, deviation = json.loads(path.read_text())
            return cast("Triple", tuple(mean)), cast("Triple", tuple(deviation))
        except (FileNotFoundError, ValueError):
            found = colours(index, ids, progress=progress)
            replace_text(path, json.dumps(found))
            return found
