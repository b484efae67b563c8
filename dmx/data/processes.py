"""Pools of processes that end with the process that began them."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import connection, parent_process
from typing import Any


@contextmanager
def pool(count: int, begin: Callable[..., None] | None = None, *given: Any) -> Iterator[ProcessPoolExecutor]:
    """New processes (forked ones would inherit locks of threads they lack); what waits for one is dropped at the end.

    Args:
        count: How many.
        begin: Makes each ready, if there is anything to do.
        given: What `begin` is called with.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, context, _begin, (begin, given)) as executor:
        try:
            yield executor
        finally:
            executor.shutdown(cancel_futures=True)


def _begin(begin: Callable[..., None] | None, given: tuple[Any, ...]) -> None:
    if (parent := parent_process()) is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    if begin is not None:
        begin(*given)


def _end_with(sentinel: int) -> None:
    """A killed parent leaves its pool waiting for ever, or writing where another command goes on."""
    connection.wait([sentinel])
    os._exit(1)
