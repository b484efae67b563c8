"""A run's journal on its way to MLflow and TensorBoard."""

from collections.abc import Callable, Collection

from filelock import FileLock

from dmx.tracking import mlflow_store, tensorboard_store
from dmx.tracking.feed import Feed
from dmx.tracking.home import Home
from dmx.tracking.journal import JOURNAL, read
from dmx.tracking.store import Store

TENSORBOARD, MLFLOW = "TensorBoard", "MLflow"
LOCK_PATIENCE = 10.0
"""Seconds for a feeder whose parent was killed to finish its batch and go; it takes 3 at most."""


class Delivery:
    """The feeds of one run, behind a lock: however many processes there are, one feeds a run at a time.

    The system takes the lock back when its process dies.

    Args:
        home: Where runs and stores are.
        run_id: The run.
        without: Stores that are known to take nothing now.
    """

    def __init__(self, home: Home, run_id: str, without: Collection[str] = ()) -> None:
        self._home, self._run_id, self._without = home, run_id, without
        self._lock = FileLock(home.run(run_id) / "feed.lock")
        self._feeds: list[Feed] = []

    def pump(self) -> bool:
        """Send one batch to each store that is due; whether anything went through."""
        return self._locked(0.0) and sum(feed.pump() for feed in self._feeds if feed.due) > 0

    def finish(self, note: Callable[[], None] = lambda: None) -> None:
        """Send all that is left, with a `note` after each batch, and let go of stores and lock."""
        if self._locked(LOCK_PATIENCE):
            for feed in self._feeds:
                if feed.name not in self._without:
                    feed.empty(note)
                feed.close()
            self._lock.release()

    def _locked(self, patience: float) -> bool:
        if self._lock.is_locked:
            return True
        try:
            self._lock.acquire(timeout=patience)
        except OSError:  # another feeder has it, or the folder is gone
            return False
        self._feeds = feeds_of(self._home, self._run_id)  # not before: how far the stores are may have changed
        return True


def feeds_of(home: Home, run_id: str) -> list[Feed]:
    """The ways from a run's journal to the stores; no store is imported or opened before there is something to send."""
    folder, logdir, known = home.run(run_id), home.tensorboard(run_id), sent(home, run_id)
    makers: dict[str, Callable[[], Store]] = {
        TENSORBOARD: lambda: tensorboard_store.TensorBoardStore(folder, logdir),
        MLFLOW: lambda: mlflow_store.MlflowStore(home, run_id),
    }
    return [Feed(name, folder / JOURNAL, known[name], make) for name, make in makers.items()]


def sent(home: Home, run_id: str) -> dict[str, int]:
    """The journal's byte offset up to which each store has everything, as far as the run's folder knows."""
    board = tensorboard_store.sent(home.run(run_id), home.tensorboard(run_id))
    return {TENSORBOARD: board, MLFLOW: mlflow_store.sent(home, run_id)}


def unsent(home: Home, run_id: str) -> int:
    """The number of events that the store which is furthest behind lacks; what was deleted there is not missed."""
    places, journal = sent(home, run_id), home.run(run_id) / JOURNAL
    if mlflow_store.was_deleted(home, run_id):
        del places[MLFLOW]
    return sum(1 for _ in read(journal, min(places.values()))) if journal.exists() else 0
