"""Sending missing events to MLflow and TensorBoard, for runs that no process is writing."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dmx.errors import DataError, UserError
from dmx.outcome import Outcome
from dmx.tracking.forwarder import MLFLOW, RunForwarder, unsent
from dmx.tracking.home import JOURNAL, RESULT, Home
from dmx.tracking.journal import Event, Finished, Journal, Started, read, started
from dmx.tracking.mlflow_client import connect, every_run, explain_error, is_complete, is_local
from dmx.tracking.mlflow_store import read_state, was_deleted
from dmx.tracking.mlflow_store import state_file as mlflow_state
from dmx.tracking.run import take_lock
from dmx.tracking.tensorboard_store import mark as tensorboard_mark

if TYPE_CHECKING:
    from mlflow.entities import Run

Progress = Callable[[int, int], None]
UNSAID = "the process ended without saying why"


@dataclass(frozen=True)
class Synced:
    """The result of a synchronisation.

    Attributes:
        left: The number of unsent events of each run.
        trouble: Why MLflow could not be queried; empty if it could.
        deleted: The runs that were deleted in MLflow before all their events were sent.
    """

    left: Mapping[str, int]
    trouble: str
    deleted: Sequence[str]


def sync(home: Home, run_id: str, known: Mapping[str, "Run"] | None = None, without: Collection[str] = ()) -> int:
    """Send one run's missing events to MLflow and TensorBoard from this process; cheap if none are missing.

    A run whose process died is finished here as interrupted, so that MLflow and TensorBoard do not show it as running.
    A run that is being written is left to its own process; a run that was opened without stores is skipped.

    Args:
        home: The results folder.
        run_id: The run.
        known: MLflow's runs by id, if it was queried: events that MLflow has lost are sent again.
        without: Stores that are known to be unavailable now.

    Returns:
        The number of events that could not be sent.

    Raises:
        DataError: The journal is damaged or missing.
    """
    home = Home(home.root.resolve())
    folder = home.run(run_id)
    if not any((folder / name).exists() for name in (JOURNAL, RESULT)):
        return 0
    try:
        lock = take_lock(folder, run_id, patience=0.0)
    except UserError:
        return 0
    try:
        if not finish_if_abandoned(home, run_id):
            return 0
        if known is not None:
            forget_if_lost(home, run_id, known)
        RunForwarder(home, run_id, without).finish()
        return unsent(home, run_id)
    finally:
        lock.release()


def rebuild(home: Home, progress: Progress) -> tuple[Synced, Path | None]:
    """Rebuild MLflow and TensorBoard from the journals.

    A local MLflow store is moved to a backup folder with its artifacts, and a new one is created. A server keeps its
    runs and is sent everything again, which creates no duplicates. Registered models are not in the journals, so they
    are not restored.

    Returns:
        The result, and the backup folder of the old store.

    Raises:
        UserError: A run is being written.
        DataError: A journal is damaged.
    """
    home = Home(home.root.resolve())
    runs = home.runs_with(JOURNAL, RESULT)
    with ExitStack() as held:
        for run_id in runs:
            held.callback(take_lock(home.run(run_id), run_id, patience=0.0).release)
        for run_id in runs:
            first_and_last(home, run_id)  # a damaged journal raises before anything is moved
        aside = set_aside(home) if is_local(home) else None
        for run_id in runs:
            for file in (mlflow_state(home.run(run_id)), tensorboard_mark(home.run(run_id))):
                file.unlink(missing_ok=True)
    return sync_all(home, progress), aside


def sync_all(home: Home, progress: Progress) -> Synced:
    """Query MLflow's runs, and send every run's missing events to MLflow and TensorBoard.

    Raises:
        DataError: Journals are damaged; all other runs were sent.
    """
    home = Home(home.root.resolve())
    runs, left, damaged = home.runs_with(JOURNAL, RESULT), {}, []
    known, trouble = ask(home, runs)
    for done, run_id in enumerate(runs, start=1):
        try:
            left[run_id] = sync(home, run_id, known, (MLFLOW,) if known is None else ())
        except DataError as error:
            damaged.append(str(error))
        progress(done, len(runs))
    if damaged:
        raise DataError("\n".join(damaged[:10]))
    return Synced(left, trouble, [run_id for run_id in runs if was_deleted(home, run_id)])


def ask(home: Home, runs: Sequence[str]) -> tuple[dict[str, "Run"] | None, str]:
    """MLflow's runs by id, or None and why it cannot be queried; it is not queried if no run has stores."""
    if not any(wants_stores(home, run_id) for run_id in runs) or (is_local(home) and not home.mlflow_db.exists()):
        return {}, ""
    try:
        return every_run(connect(home)), ""
    except Exception as error:  # a store or its server may raise anything
        return None, explain_error(error, home)


def wants_stores(home: Home, run_id: str) -> bool:
    """Whether a run was started with stores; False if its journal is damaged."""
    try:
        start = started(home.run(run_id) / JOURNAL)
    except DataError:
        return False
    return start is not None and start.stores


def forget_if_lost(home: Home, run_id: str, known: Mapping[str, "Run"]) -> None:
    """Mark a run to be sent again if MLflow has lost it or has it only in part."""
    state, journal = read_state(home, run_id), home.run(run_id) / JOURNAL
    start = started(journal)
    if "run" not in state or start is None:
        return
    run, all_sent = known.get(state["run"]), state.get("sent") == journal.stat().st_size
    if run is None or (all_sent and not is_complete(run, start)):
        mlflow_state(home.run(run_id)).unlink(missing_ok=True)


def set_aside(home: Home) -> Path | None:
    """Move MLflow's local store and its artifacts to a backup folder.

    Returns:
        The folder; None if there is no store.
    """
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


def finish_if_abandoned(home: Home, run_id: str) -> bool:
    """Finish a run whose process died, as interrupted.

    Returns:
        Whether the run has started and has stores.

    Raises:
        DataError: See `first_and_last`.
    """
    events = first_and_last(home, run_id)
    if events is None or not events[0].stores:
        return False
    if not isinstance(events[1], Finished):
        journal = Journal(home.run(run_id) / JOURNAL)
        journal.append(Finished(time=events[1].time, outcome=Outcome.INTERRUPTED.value, reason=UNSAID))
        journal.close()
    return True


def first_and_last(home: Home, run_id: str) -> tuple[Started, Event] | None:
    """The first and last event of a run's journal; None if the run never started.

    Raises:
        DataError: The journal is damaged, or lacks its last event although the run has a result (written after it).
    """
    folder = home.run(run_id)
    first = last = None
    ended = False
    for event, _ in read(folder / JOURNAL) if (folder / JOURNAL).exists() else ():
        first, last = first or event, event
        ended = ended or isinstance(event, Finished)
    if not ended and (folder / RESULT).exists():
        raise DataError(
            f"{folder / JOURNAL}: is gone or cut off, though the run has ended; restore it from a copy, or remove "
            f"{folder}, and the same command trains the run again."
        )
    return (first, last) if isinstance(first, Started) and last is not None else None
