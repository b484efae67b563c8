"""Pools of threads, and of processes that exit with their parent process."""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import connection, parent_process
from typing import Any, TypeVar

from dmx.errors import MachineError
from dmx.machine import SHARED_MEMORY, cores

Job = TypeVar("Job")
T = TypeVar("T")

AHEAD = 4
"""Jobs per process that are submitted before the next result is taken."""


def in_threads(
    work: Callable[[Job], T], jobs: Sequence[Job], progress: Callable[[int, int], None] | None = None, *, chunk: int = 1
) -> Iterator[T]:
    """Yield the result of `work` for each job, in order, from one thread per core.

    Args:
        work: A function that is bound by I/O or releases the GIL.
        jobs: Its arguments.
        progress: Called with (jobs done, jobs in total).
        chunk: Jobs that a thread takes at once; 1,200,000 single pending ones would take 2 GB.
    """
    done, chunks = 0, [jobs[start : start + chunk] for start in range(0, len(jobs), chunk)]
    pool = ThreadPoolExecutor(cores())
    try:
        for found in pool.map(lambda some: [work(job) for job in some], chunks):
            yield from found
            done += len(found)
            if progress is not None:
                progress(done, len(jobs))
    finally:
        pool.shutdown(cancel_futures=True)


def in_processes(
    count: int, work: Callable[[Job], T], jobs: Iterable[Job], begin: Callable[..., None] | None = None, *given: Any
) -> Iterator[T]:
    """Yield the result of `work` for each job, in order, from a pool of spawned processes.

    Processes are spawned, as forked ones could inherit held locks. Only a few jobs per process wait at a time: memory
    stays bounded, and CPython 3.11 fails in a thread of its own where jobs are submitted while it handles a death.

    Args:
        count: Number of processes.
        work: A picklable function.
        jobs: Its arguments; those that wait when the iteration ends are dropped.
        begin: Initialiser of each process.
        given: Arguments of `begin`.

    Raises:
        MachineError: No process can be started, or one has died.
    """
    context = multiprocessing.get_context("spawn")
    try:
        executor = ProcessPoolExecutor(count, context, _begin, (begin, given))
    except OSError as error:
        raise cannot_start(error, "one worker") from error
    remaining = iter(jobs)
    try:
        with executor:
            waiting = deque(executor.submit(work, job) for job in islice(remaining, AHEAD * count))
            try:
                while waiting:
                    yield waiting.popleft().result()
                    waiting.extend(executor.submit(work, job) for job in islice(remaining, 1))
            finally:
                executor.shutdown(cancel_futures=True)
    except BrokenProcessPool as error:
        raise MachineError(
            f"one of {count} processes has died; if the system has killed it for want of memory, take fewer "
            "workers. The same command does what is left."
        ) from error


def cannot_start(error: OSError, without: str) -> MachineError:
    """Make the error for a system without semaphores, which processes need to communicate."""
    return MachineError(
        f"no process can be started beside this one ({error.strerror}); see that {SHARED_MEMORY} is there, can be "
        f"written and is not full, or go on with {without}."
    )


def _begin(begin: Callable[..., None] | None, given: tuple[Any, ...]) -> None:
    if (parent := parent_process()) is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    if begin is not None:
        begin(*given)


def _end_with(sentinel: int) -> None:
    """Exit when the parent does: workers of a killed parent would wait for ever, or write beside a resumed command."""
    connection.wait([sentinel])
    os._exit(1)
