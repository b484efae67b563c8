"""Work in threads ahead of who takes its results."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ahead(items: Iterable[T], call: Callable[[T], R], threads: int, room: int) -> Generator[R, None, None]:
    """Yield `call(item)` of each item, in order, computed in threads.

    Items are taken in the thread that takes the results, so that they may be results of another `ahead`. What `call`
    raises is raised at the item's turn; then, or when no more results are taken, nothing more is begun.

    Args:
        items: The items.
        call: What to do with each.
        threads: How many run at once.
        room: Most items whose results have been begun and not yet taken: a bound of the memory.
    """
    pool = ThreadPoolExecutor(threads)
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(call, item))
            if len(waiting) >= room:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
