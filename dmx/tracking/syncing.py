"""Sending what the stores lack of a run that nobody writes any more."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from dmx.errors import UserError
from dmx.outcome import Outcome
from dmx.tracking.delivery import Delivery, unsent
from dmx.tracking.home import Home
from dmx.tracking.journal import JOURNAL, Event, Finished, Journal, Started, read
from dmx.tracking.mlflow_client import address
from dmx.tracking.mlflow_store import state_file as mlflow_state
from dmx.tracking.run import take_lock
from dmx.tracking.tensorboard_store import mark as tensorboard_mark

Progress = Callable[[int, int], None]
UNSAID = "the process ended without saying why"


def sync(home: Home, run_id: str) -> int:
    """Send what the stores lack of one run, from this process; cheap when they lack nothing.

    A run whose process is gone without a word is finished here as interrupted, so that no store shows it running. A run
    that is being written is left to its own process, and one that was opened without stores stays out of them.

    Returns:
        The number of events that could not be sent.

    Raises:
        DataError: The journal is damaged.
    """
    home = Home(home.root.resolve())
    folder = home.run(run_id)
    if not (folder / JOURNAL).exists():
        return 0
    try:
        lock = take_lock(folder, run_id, patience=0.0)
    except UserError:
        return 0
    try:
        if not whole(home, run_id):
            return 0
        Delivery(home, run_id).finish()
        return unsent(home, run_id)
    finally:
        lock.release()


def rebuild(home: Home, progress: Progress) -> tuple[dict[str, int], Path | None]:
    """Make both stores anew from the journals alone.

    A local MLflow store is set aside with its artifacts, and a new one is made; a server keeps what it has, and gets
    everything again, which doubles nothing. Registered models stand in no journal.

    Returns:
        The events of each run that could not be sent, and where the old store was put.

    Raises:
        UserError: A run is being written.
        DataError: A journal is damaged.
    """
    home = Home(home.root.resolve())
    runs = runs_of(home)
    with ExitStack() as held:
        for run_id in runs:
            held.callback(take_lock(home.run(run_id), run_id, patience=0.0).release)
        aside = set_aside(home) if address(home) == home.mlflow_uri else None
        for run_id in runs:
            for file in (mlflow_state(home.run(run_id)), tensorboard_mark(home.run(run_id))):
                file.unlink(missing_ok=True)
    return sync_all(home, progress), aside


def sync_all(home: Home, progress: Progress) -> dict[str, int]:
    """Send what the stores lack of every run; the events of each that could not be sent."""
    runs, left = runs_of(home), {}
    for done, run_id in enumerate(runs, start=1):
        left[run_id] = sync(home, run_id)
        progress(done, len(runs))
    return left


def runs_of(home: Home) -> list[str]:
    """The runs that have a journal."""
    return sorted(path.parent.name for path in (home.root / "runs").glob(f"*/{JOURNAL}"))


def set_aside(home: Home) -> Path | None:
    """Move MLflow's local store and its artifacts into a folder of their own; None where there is none."""
    there = [path for path in (home.mlflow_db, home.artifacts) if path.exists()]
    if not there:
        return None
    number = 1
    while (folder := home.root / f"before-rebuild-{number}").exists():
        number += 1
    folder.mkdir()
    for path in there:
        path.rename(folder / path.name)
    return folder


def whole(home: Home, run_id: str) -> bool:
    """Whether there is a run that the stores want; one that was left in the middle is finished first."""
    journal = Journal(home.run(run_id) / JOURNAL)
    try:
        ends = first_and_last(journal)
        if ends is None or not ends[0].stores:
            return False
        if not isinstance(ends[1], Finished):
            journal.append(Finished(time=ends[1].time, outcome=Outcome.INTERRUPTED.value, reason=UNSAID))
        return True
    finally:
        journal.close()


def first_and_last(journal: Journal) -> tuple[Started, Event] | None:
    """The start of the run and what it wrote last, or None if it never began."""
    first = last = None
    for event, _ in read(journal.path):
        first = first or event
        last = event
    return (first, last) if isinstance(first, Started) and last is not None else None
