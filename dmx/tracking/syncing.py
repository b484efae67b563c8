"""Sending what the stores lack of a run that nobody writes any more."""

from dmx.errors import UserError
from dmx.outcome import Outcome
from dmx.tracking.delivery import Delivery, unsent
from dmx.tracking.home import Home
from dmx.tracking.journal import JOURNAL, Event, Finished, Journal, Started, read
from dmx.tracking.run import take_lock

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
