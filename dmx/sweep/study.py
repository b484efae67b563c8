"""The life cycle of a study: prepare or join it, report its status, and log it to its own MLflow run."""

import json
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from optuna.trial import TrialState

from dmx.config import StudyConfig
from dmx.config.experiment import flat_name
from dmx.config.space import Space, build_space
from dmx.data.layout import DatasetIndex
from dmx.errors import UserError
from dmx.experiment import check, check_equal, check_identity, identity_of, remove_unneeded_files
from dmx.outcome import Outcome
from dmx.registry import Choice
from dmx.results.pareto import hypervolume, ranks, to_minimize
from dmx.stored import make_folder, replace_text
from dmx.sweep.definition import (
    check_storage,
    check_unchanged,
    load_shared,
    share_definition,
    store_config,
    store_storage,
)
from dmx.sweep.halving import paused_at
from dmx.sweep.storage import without_password
from dmx.sweep.suggest import baseline_params_outside_space, first_trials
from dmx.sweep.trial_queue import TrialQueue, check_runs, open_queue
from dmx.sweep.warm_start import WarmStart, keep_warm_start, read_warm_start
from dmx.tracking import RunStart, RunTracker, open_run
from dmx.tracking.forwarder import unsent
from dmx.tracking.forwarder_client import forwarder
from dmx.tracking.home import IDENTITY, JOURNAL, OPTUNA_JOURNAL, STUDY, Home
from dmx.tracking.journal import Finished, Reopened, read
from dmx.tracking.mlflow_forms import View
from dmx.written import read_yaml

Artifacts = Callable[[StudyConfig, TrialQueue], Iterable[Path]]
log = logging.getLogger(__name__)
RESUMABLE = "the same command goes on"


@dataclass(frozen=True)
class StudyStatus:
    """The progress of a study.

    Attributes:
        outcomes: How many trials have finished with each outcome.
        paused: The numbers of the paused trials.
        best: The first objective's best value, and the number of its trial.
    """

    outcomes: Mapping[str, int]
    paused: frozenset[int]
    best: tuple[float, int] | None


def study_status(queue: TrialQueue) -> StudyStatus:
    """The status of a study now."""
    trials = queue.trials()
    outcomes = Counter(str(t.user_attrs.get("outcome", t.state.name.lower())) for t in trials if t.state.is_finished())
    paused = (t.number for t in trials if t.state is TrialState.WAITING and paused_at(t.user_attrs))
    values = [(t.values[0], t.number) for t in trials if t.state is TrialState.COMPLETE]
    lower = queue.load_study().directions[0].name == "MINIMIZE"
    return StudyStatus(outcomes, frozenset(paused), (min if lower else max)(values, default=None))


def status_metrics(queue: TrialQueue) -> dict[str, float]:
    """The status as metrics of the study's run: trials by state; the best value, or the size and volume of the front.

    The reference point of the hypervolume is the first trial, the study's own experiment. The hypervolume is thus the
    front's gain over that trial, relative to its values.
    """
    trials = queue.trials()
    counts = {
        f"trials/{state.name.lower()}": float(sum(trial.state is state for trial in trials))
        for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    }
    directions = [direction.name.lower() for direction in queue.load_study().directions]
    complete = [trial.values for trial in trials if trial.state is TrialState.COMPLETE]
    if not complete:
        return counts
    if len(directions) == 1:
        return {**counts, "trials/best_value": (max if directions == ["maximize"] else min)(complete)[0]}
    F = to_minimize(complete, directions)
    F = F[np.isfinite(F).all(1)]
    front = F[ranks(F) == 0]
    counts["trials/front"] = float(len(front))
    if not trials[0].values:
        return counts
    reference = to_minimize([trials[0].values], directions)[0]
    unit = np.where(reference == 0, 1, np.abs(reference))
    return {**counts, "trials/hypervolume": hypervolume(front / unit, reference / unit)}


def complete_trials(queue: TrialQueue) -> int:
    """The number of complete trials."""
    return sum(trial.state is TrialState.COMPLETE for trial in queue.trials())


@dataclass(frozen=True)
class StudySummary:
    """The state of a study when the command ends.

    Attributes:
        finished: Number of finished trials.
        trials: Number of trials in all.
        complete: Number of finished trials with outcome complete.
        ran: Number of trials that finished since the command started.
        stopped: Why the study was stopped before its last trial; empty if it was not.
        unsent: Number of events not yet sent to MLflow and TensorBoard.
        failed: Whether the study was stopped because too many trials failed.
    """

    finished: int
    trials: int
    complete: int
    ran: int
    stopped: str
    unsent: int
    failed: bool = False


@dataclass(frozen=True)
class PreparedStudy:
    """A study whose trials can be run.

    Attributes:
        tracker: Writes the study's own run, beside those of its trials; None if another machine writes it.
        finished_before: Number of trials that had finished before this start.
    """

    config: StudyConfig
    home: Home
    queue: TrialQueue
    space: Space
    index: DatasetIndex
    tracker: RunTracker | None
    finished_before: int

    def log_status(self) -> None:
        """Log the status to the study's own run."""
        if self.tracker is not None:
            self.tracker.log(self.queue.finished(), status_metrics(self.queue))

    def close(
        self, stopped: str, runs: Collection[str], artifacts: Artifacts = lambda config, queue: ()
    ) -> StudySummary:
        """Close the study's own run.

        Args:
            stopped: Why the study was stopped; empty if it was not.
            runs: The runs of the trials that were trained.
            artifacts: Creates the files to log to the study's run, if all trials have finished.
        """
        after = self.queue.finished()
        if self.tracker is not None:
            self.tracker.artifact(self.home.study(self.config.name) / STUDY)
            whole = after >= self.config.trials and not stopped
            for path in artifacts(self.config, self.queue) if whole else ():
                self.tracker.artifact(path)
            self.tracker.finish(Outcome.COMPLETE if whole else Outcome.INTERRUPTED, stopped)  # waits for sending
            runs = {*runs, self.tracker.folder.name}
        ran, missing = after - self.finished_before, sum(count_unsent(self.home, run) for run in runs)
        return StudySummary(after, self.config.trials, complete_trials(self.queue), ran, stopped, missing)


@contextmanager
def prepare_study(config: StudyConfig, home: Home, url: str | None = None) -> Iterator[PreparedStudy | StudySummary]:
    """Check the configuration, then create or resume the study; yield a summary if all trials have already finished.

    Args:
        config: The study.
        home: The results folder.
        url: The database shared by workers on several machines; None: the study is in `home`, and only one process may
            run its worker pool.

    Raises:
        UserError: The configuration does not fit the data, or the study in `home` has another configuration.
    """
    folder = home.study(config.name)
    if url is None and not (folder / OPTUNA_JOURNAL).is_file():
        check_runs(home, config.name, range(config.trials), list)
    if (folder / STUDY).exists():
        check_unchanged(config, read_yaml(folder / STUDY), str(folder))
        check_storage(folder, url)
        queue = open_queue(config, folder, url)
        if is_closed(queue, home):
            store_config(folder, config)
            yield StudySummary(queue.finished(), config.trials, complete_trials(queue), 0, "", 0)
            return
    base = check(config.experiment, home, config.metrics)
    space = build_space(config, base.index.depth.kind, base.index.has_background)
    first_trials(config, space)  # raises for an invalid queue, before anything is written
    for path, value in baseline_params_outside_space(space).items():
        log.warning("trial 0 differs from the experiment: its value %s is outside of search.%s.", value, path)
    warm = WarmStart() if (folder / STUDY).exists() else read_warm_start(config, space, home, url)
    with exclusive(folder):
        check_identity(folder / IDENTITY, base, f"study '{config.name}'")
        replace_text(folder / IDENTITY, json.dumps(identity_of(base), indent=1))
        store_storage(folder, url)
        queue = open_queue(config, folder, url)
        check_runs(home, config.name, range(config.trials), queue.trials)
        share_definition(queue, config, identity_of(base))
        if config.warm_start:
            keep_warm_start(queue, warm)
        store_config(folder, config)
        if url is None:
            queue.release_all()  # this process has the study's lock, so there are no workers
        clean_up_finished(queue, config, home)
        queue.fill()
        send_unsent(queue, home)
        tracker = open_run(home, f"{config.name}-study", run_start(config, space))
        yield PreparedStudy(config, home, queue, space, base.index, tracker, queue.finished())


def join_study(name: str, home: Home, url: str) -> PreparedStudy:
    """Join a study that was started by `dmx sweep --storage`, usually on another machine.

    Raises:
        UserError: There is no such study, or the data on this machine differ from the study's.
    """
    queue, config, identity = load_shared(name, url)
    base = check(config.experiment, home, config.metrics)
    check_equal(identity, identity_of(base), f"study '{name}' at {without_password(url)}", base.index.root)
    space = build_space(config, base.index.depth.kind, base.index.has_background)
    return PreparedStudy(config, home, queue, space, base.index, None, queue.finished())


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Lock the study in `folder` for this process; the operating system releases the lock when the process dies.

    Raises:
        UserError: Another process has the lock.
    """
    make_folder(folder)
    try:
        with FileLock(folder / "lock", timeout=0):
            yield
    except Timeout:
        raise UserError(
            f"another process works on the study in {folder}; wait until it has ended, or stop it."
        ) from None


def is_closed(queue: TrialQueue, home: Home) -> bool:
    """Whether all trials have finished and all their events were sent to MLflow and TensorBoard."""
    if queue.finished() < queue.n_trials:
        return False
    folder = home.run(f"{queue.study_name}-study")
    if not (folder / JOURNAL).is_file():  # removed by hand
        return False
    endings = [event for event, _ in read(folder / JOURNAL) if isinstance(event, Finished | Reopened)]
    if not endings or not isinstance(endings[-1], Finished) or endings[-1].outcome != Outcome.COMPLETE.value:
        return False
    runs = (str(trial.user_attrs.get("run", "")) for trial in queue.trials())
    return not any(run and count_unsent(home, run) for run in (folder.name, *runs))


def send_unsent(queue: TrialQueue, home: Home) -> None:
    """Send the events of finished trials that MLflow and TensorBoard lack, for example after a pool was killed."""
    for trial in queue.trials():
        run_id = str(trial.user_attrs.get("run", ""))
        if trial.state.is_finished() and run_id and count_unsent(home, run_id):
            forwarder().finish(home, run_id, 0.0)


def count_unsent(home: Home, run_id: str) -> int:
    """The number of a run's events that MLflow and TensorBoard lack; 0 if its folder was removed."""
    return unsent(home, run_id) if (home.run(run_id) / JOURNAL).is_file() else 0


def clean_up_finished(queue: TrialQueue, config: StudyConfig, home: Home) -> None:
    """Remove files of finished trials that a killed worker left behind."""
    for trial in queue.trials():
        run_id, outcome = trial.user_attrs.get("run"), trial.user_attrs.get("outcome")
        if trial.state.is_finished() and run_id and outcome:
            remove_unneeded_files(home.run(run_id), Outcome(outcome), config.experiment, trial=True)


def study_view(config: StudyConfig, space: Space) -> View:
    """MLflow's saved view of the study: its objectives, and the parameters that every trial samples."""
    names = [flat_name(dimension.path) for dimension in space.dimensions]
    choices = {d.path: len(d.search.values) for d in space.dimensions if isinstance(d.search, Choice)}
    drawn = [
        name
        for name, d in zip(names, space.dimensions, strict=True)
        if d.when is None or names.count(name) == choices.get(d.when[0])
    ]
    objective = config.experiment.objective
    metrics = dict.fromkeys((*config.metrics, "val/mask/iou_pooled", "val/depth/rmse_pooled"))
    return View(
        objective=objective.metric,
        ascending=objective.direction == "minimize",
        metrics=(*metrics,),
        params=(*dict.fromkeys(drawn),),
    )


def run_start(config: StudyConfig, space: Space) -> RunStart:
    """The description of the study's own run."""
    lineage = {"dmx.warm_start": config.warm_start.study} if config.warm_start else {}
    return RunStart(
        experiment=config.name,
        name=f"{config.name} (study)",
        tags={"dmx.role": "study", "dmx.study": config.name, **lineage},
        params={f"search.{d.path}": str(d.search) for d in space.dimensions},
        view=study_view(config, space),
    )
