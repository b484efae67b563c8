"""Process pools whose workers exit with their parent process."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import connection, parent_process
from typing import Any

from dmx.errors import MachineError
from dmx.machine import SHARED_MEMORY


@contextmanager
def pool(count: int, begin: Callable[..., None] | None = None, *given: Any) -> Iterator[ProcessPoolExecutor]:
    """Open a pool of spawned processes (forked ones could inherit held locks); pending jobs are cancelled on exit.

    Args:
        count: Number of processes.
        begin: Initialiser of each process.
        given: Arguments of `begin`.

    Raises:
        MachineError: No process can be started, or one has died, which breaks the pool.
    """
    context = multiprocessing.get_context("spawn")
    try:
        made = ProcessPoolExecutor(count, context, _begin, (begin, given))
    except OSError as error:
        raise cannot_start(error, "one worker") from error
    with made as executor:
        try:
            yield executor
        except BrokenProcessPool as error:
            raise MachineError(
                f"one of {count} processes has died; if the system has killed it for want of memory, take fewer "
                "workers. The same command does what is left."
            ) from error
        finally:
            executor.shutdown(cancel_futures=True)


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
