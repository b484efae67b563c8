"""Sending what the stores lack of a run that nobody writes any more."""

from dmx.errors import UserError
from dmx.outcome import Outcome
from dmx.tracking import mlflow_store, tensorboard_store
from dmx.tracking.feed import empty
from dmx.tracking.home import Home
from dmx.tracking.journal import Event, Finished, Journal, Started, read
from dmx.tracking.run import JOURNAL, feeds_of, take_lock

UNSAID = "the process ended without saying why"


def sync(home: Home, run_id: str) -> int:
    """Send what the stores lack of one run; cheap when they lack nothing.

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
        journal = Journal(folder / JOURNAL)
        try:
            return send_rest(home, run_id, journal)
        finally:
            journal.close()
    finally:
        lock.release()


def send_rest(home: Home, run_id: str, journal: Journal) -> int:
    """Finish the run if need be, and feed the stores that lack something."""
    ends = first_and_last(journal)
    if ends is None or not ends[0].stores:
        return 0
    if not isinstance(ends[1], Finished):
        journal.append(Finished(time=ends[1].time, outcome=Outcome.INTERRUPTED.value, reason=UNSAID))
    folder = home.run(run_id)
    known = {"TensorBoard": tensorboard_store.sent(folder), "MLflow": mlflow_store.sent(home, run_id)}
    feeds = [feed for feed in feeds_of(home, run_id, journal) if known[feed.name] < journal.size]
    for feed in feeds:
        empty(feed)
        feed.close()
    return max((feed.unsent() for feed in feeds), default=0)


def first_and_last(journal: Journal) -> tuple[Started, Event] | None:
    """The start of the run and what it wrote last, or None if it never began."""
    first = last = None
    for event, _ in read(journal.path):
        first = first or event
        last = event
    return (first, last) if isinstance(first, Started) and last is not None else None
