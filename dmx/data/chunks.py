"""One pass over all samples on all cores: by chunks, in order, so that the result does not depend on how many cores."""

import math
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from dmx.data.layout import DatasetIndex, read
from dmx.data.writing import Progress

T = TypeVar("T")

CHUNK = 64
"""Samples that are worked on as one; also what is summed before it is added to the rest."""
SAMPLES_PER_WORKER = 500
"""A process takes about two seconds to start, as long as it takes to check so many samples of 64x64."""

_index: DatasetIndex
"""The data set of a worker process."""


def each_chunk(
    work: Callable[[DatasetIndex, range], T],
    index: DatasetIndex,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Iterator[T]:
    """What `work` makes of each chunk of samples, in their order.

    Args:
        work: A function of a module: (index, rows of its samples) -> result. Results should be small.
        index: The data set; processes read it anew from its folder.
        workers: Processes; None takes one per core where the work is worth it, 1 works here.
        progress: Told how many samples of how many are done.
    """
    total = len(index.samples)
    chunks = [range(first, min(first + CHUNK, total)) for first in range(0, total, CHUNK)]
    cores = len(os.sched_getaffinity(0))
    processes = min(cores, math.ceil(total / SAMPLES_PER_WORKER)) if workers is None else workers
    for rows, result in zip(chunks, _results(work, index, chunks, processes), strict=True):
        yield result
        if progress is not None:
            progress(rows.stop, total)


def _results(
    work: Callable[[DatasetIndex, range], T], index: DatasetIndex, chunks: list[range], processes: int
) -> Iterator[T]:
    """Here, or in new processes (forked ones would inherit locks of threads they lack)."""
    if processes <= 1:
        yield from (work(index, rows) for rows in chunks)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, initializer=_open, initargs=(index.root,)) as pool:
        try:
            yield from pool.map(_work, [work] * len(chunks), chunks)
        finally:
            pool.shutdown(cancel_futures=True)


def _open(root: Path) -> None:
    global _index
    _index = read(root)


def _work(work: Callable[[DatasetIndex, range], Any], rows: range) -> Any:
    return work(_index, rows)
