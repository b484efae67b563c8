"""A progress bar."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def bar(title: str, *, goes_on: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on stderr if that is a terminal.

    If rerunning the command resumes (`goes_on`), an interrupted bar says so.
    """
    from rich.console import Console
    from rich.progress import Progress

    at = (0, 0)

    def update(done: int, total: int) -> None:
        nonlocal at
        at = done, total
        shown.update(task, completed=done, total=total)

    with Progress(console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(title, total=None)
        try:
            yield update
        except KeyboardInterrupt:
            if goes_on:
                shown.console.print(f"{title}: stopped at {at[0]:,} of {at[1]:,}; the same command goes on.")
            raise
