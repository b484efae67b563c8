"""Process all samples in ordered chunks on all cores; the result does not depend on the number of cores."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from dmx.data.layout import DatasetIndex, read
from dmx.data.processes import in_processes
from dmx.data.writing import Progress
from dmx.machine import cores

Job = TypeVar("Job")
T = TypeVar("T")

CHUNK = 64
"""Samples per job; float sums are computed per chunk, then added in order."""
SAMPLES_PER_WORKER = 500
"""A process takes about two seconds to start, as long as checking 500 samples of 64x64."""

_index: DatasetIndex
"""The data set of a worker process."""


def each_chunk(
    work: Callable[[DatasetIndex, range], T],
    index: DatasetIndex,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Iterator[T]:
    """Yield the result of `work` for each chunk of samples, in order.

    Args:
        work: A picklable module-level function: (index, rows of its samples) -> result. Results should be small.
        index: The data set; worker processes read it again from its folder.
        workers: Number of processes; None takes one per core where the work is worth it, 1 stays in this process.
        progress: Called with (samples done, samples in total).
    """
    total = len(index.samples)
    chunks = [range(first, min(first + CHUNK, total)) for first in range(0, total, CHUNK)]
    processes = min(cores(), math.ceil(total / SAMPLES_PER_WORKER)) if workers is None else workers
    for rows, result in zip(chunks, in_order(work, index, chunks, processes), strict=True):
        yield result
        if progress is not None:
            progress(rows.stop, total)


def in_order(
    work: Callable[[DatasetIndex, Job], T], index: DatasetIndex, jobs: Sequence[Job], processes: int
) -> Iterator[T]:
    """Yield the result of `work` for each job, in this process or in `processes` new ones that read the data set."""
    if processes <= 1:
        yield from (work(index, job) for job in jobs)
        return
    yield from in_processes(processes, partial(_work, work), jobs, _open, index.root)


def _open(root: Path) -> None:
    global _index
    _index = read(root)


def _work(work: Callable[[DatasetIndex, Any], Any], job: Any) -> Any:
    return work(_index, job)
