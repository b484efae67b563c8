"""A study's worker: claims a trial, trains it, reports the result to Optuna, and claims the next.

Some trials end without training: duplicates, networks beyond the study's limits, and trials that repeatedly killed
their process.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from optuna import Trial
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from dmx.config import StudyConfig, parse_experiment
from dmx.config.space import Space
from dmx.config.study import LimitsConfig
from dmx.errors import DataError, FullError, full
from dmx.experiment import (
    Prepared,
    RunOptions,
    Tracking,
    costs,
    prepare,
    record_without_training,
    remove_unneeded_files,
    run,
)
from dmx.experiment.failures import crashed, no_room, reason, transient
from dmx.outcome import Outcome
from dmx.results.pareto import run_values
from dmx.results.ranking import Entry
from dmx.results.records import read_result
from dmx.sweep.events import SweepObserver
from dmx.sweep.halving import (
    DUPLICATE_OF,
    EPOCH,
    ClaimableTrial,
    claimable_trials,
    last_passed,
    paused_at,
    store_decision,
)
from dmx.sweep.pruning import report_epoch
from dmx.sweep.storage import HEARTBEAT_INTERVAL
from dmx.sweep.suggest import first_trials, suggest
from dmx.sweep.trial_queue import ORIGIN, RUN, TrialQueue, check_runs, trial_run_id
from dmx.sweep.warm_start import kept_warm_start
from dmx.tracking import RunStart, open_run, sync
from dmx.tracking.home import CHECKPOINT, Home
from dmx.training.result import RunResult

STATES = {Outcome.COMPLETE: TrialState.COMPLETE, Outcome.PRUNED: TrialState.PRUNED}
"""Every other outcome that ends a trial is FAIL; an interrupted trial is requeued."""
REPEATABLE = (Outcome.COMPLETE, Outcome.PRUNED, Outcome.DIVERGED, Outcome.UNDEFINED)
"""Outcomes that are the same for the same configuration, so that a duplicate need not train."""
MAX_DEATHS = 8
"""The trial counts as crashed after this many deaths of its worker without a new checkpoint in between."""
DIED, OVERDUE, FINGERPRINT, ERROR = "died", "overdue", "fingerprint", "error"
"""User attributes of a trial."""
PAUSE = 0.5
"""Seconds between two attempts to claim a trial while other trials are running."""


@dataclass
class Worker:
    """Runs trials of a study.

    Attributes:
        config: The study.
        home: The results folder.
        queue: The study's trials.
        space: The search space.
        observer: Receives the worker's events.
        interrupted: Whether a trial was interrupted; no further trial is then started.
    """

    config: StudyConfig
    home: Home
    queue: TrialQueue
    space: Space
    observer: SweepObserver
    interrupted: bool = field(default=False, init=False)
    stale_since: dict[int, float] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.warm = kept_warm_start(self.queue)
        self.warm_start_trials = self.warm.trials(self.space)
        self.first = first_trials(self.config, self.space, self.warm.queue)

    def run_trials(self) -> Iterator[RunResult]:
        """Run trials until all have finished or this worker is interrupted; yield each result.

        While other workers run the last trials, this one waits, because a trial may be requeued.
        """
        while not self.interrupted and self.queue.finished() < self.config.trials:
            self._release_stale()
            claimable = claimable_trials(self.queue.trials(), self.config)
            claimed = next((one for one in claimable if self.queue.claim(one.number)), None)
            if claimed is None:
                time.sleep(PAUSE)
            elif (result := self._run_trial(claimed)) is not None:
                yield result

    def _release_stale(self) -> None:
        """Requeue the trials that have been stale for longer than a heartbeat interval.

        Being stale once is not enough: while the database was unreachable no worker could record a heartbeat.
        """
        now = time.monotonic()
        self.stale_since = {number: self.stale_since.get(number, now) for number in self.queue.stale()}
        long = {number for number, since in self.stale_since.items() if now - since > HEARTBEAT_INTERVAL + 5}
        self.queue.release_stale(long)

    def _run_trial(self, claimed: ClaimableTrial) -> RunResult | None:
        """Suggest the trial's values, train it, and report the result to Optuna.

        Returns:
            The trial's result; None if it has not finished and is requeued.
        """
        number, finished = claimed.number, False
        self.observer.trial_claimed(number)
        try:
            with self.queue.heartbeat(number):
                trial, values = suggest(self.queue, self.config, self.space, number, self.first, self.warm_start_trials)
                self._check_run(trial)
                if claimed.decision is not None and not store_decision(trial, claimed.decision):
                    return None  # another worker was faster
                if not claimed.is_final:
                    self.observer.trial_started(number, self.config.trials, values)
                result = self._stored_result(trial) or self._given_up(trial) or self._train(trial, values)
                if result.outcome is Outcome.INTERRUPTED:
                    self.interrupted = True
                    return None
                if paused_at(trial.user_attrs) and not claimed.is_final and result.outcome is Outcome.PRUNED:
                    self.observer.trial_paused(number, result)
                    return None
                if not self.queue.owns(number):
                    return None  # the trial was stale and another worker has taken it over
                self._finish(trial, result)
                finished = True
        finally:
            if not finished:
                self.queue.release()
        self.observer.trial_finished(number, result)
        return result

    def _check_run(self, trial: Trial) -> None:
        """Assign the trial its run.

        Raises:
            UserError: A run of that name belongs to another study.
        """
        if RUN in trial.user_attrs:
            return
        check_runs(self.home, self.config.name, [trial.number], self.queue.trials)
        index = trial.number - 1 - len(self.config.queue)  # behind the experiment itself and the queue
        if 0 <= index < len(self.warm.runs):
            trial.set_user_attr(ORIGIN, self.warm.runs[index])
        trial.set_user_attr(RUN, self.run_id(trial.number))

    def _stored_result(self, trial: Trial) -> RunResult | None:
        """The stored result, if a worker was killed after the run ended and before it was reported to Optuna."""
        run_id = self.run_id(trial.number)
        found = read_result(self.home.run(run_id))
        if found is None or found[0].outcome is Outcome.INTERRUPTED:
            return None
        if found[0].outcome is Outcome.PRUNED and 0 < found[0].epochs <= last_passed(trial.user_attrs):
            return None  # the trial was paused there and is promoted now
        sync(self.home, run_id)
        return found[0]

    def _given_up(self, trial: Trial) -> RunResult | None:
        """A result for a trial whose process hung, or repeatedly died at the same checkpoint; None for others."""
        if (seconds := trial.user_attrs.get(OVERDUE)) is not None:
            what = f"{seconds:g} s are over, and its step did not end; its process was ended"
            return self._close_run(trial, RunResult(Outcome.TIMED_OUT, what, None, 0, 0, seconds))
        at, times = trial.user_attrs.get(DIED, (0, 0))
        if times < MAX_DEATHS or at != checkpoint_mtime(self.home, self.run_id(trial.number)):
            return None
        last = f"; {error}" if (error := trial.user_attrs.get(ERROR)) else ""
        what = f"its process died {MAX_DEATHS} times without a new checkpoint between{last}"
        return self._close_run(trial, crashed(RuntimeError(what)))

    def _close_run(self, trial: Trial, result: RunResult) -> RunResult:
        """Close the trial's run in MLflow and TensorBoard with the same result."""
        run_id = self.run_id(trial.number)
        if (known := read_result(self.home.run(run_id))) is None or known[0].outcome is Outcome.INTERRUPTED:
            tracker = open_run(self.home, run_id, RunStart(self.config.name, run_id, self._tags(trial)))
            tracker.finish(result.outcome, result.reason)
        return result

    def _tags(self, trial: Trial) -> dict[str, str]:
        tags = {"dmx.role": "trial", "dmx.study": self.config.name, "dmx.trial": str(trial.number)}
        origin = trial.user_attrs.get(ORIGIN)
        return {**tags, "dmx.warm_start": origin} if origin else tags

    def _train(self, trial: Trial, values: dict[str, Any]) -> RunResult:
        tracking = Tracking(self.config.name, self._tags(trial), trial.params)
        where = (self.home, self.run_id(trial.number))
        try:
            config = parse_experiment(self.space.raw(values), f"trial {trial.number}")
            trial.set_user_attr(FINGERPRINT, config.fingerprint)
            prepared = prepare(config, self.home, self.observer.loading, load=False, measure=self.config.measured)
            known = over_limits_result(trial, prepared, self.config.limits)
            known = known or duplicate_result(trial, config.fingerprint, prepared.weights, self.queue, self.home)
            if known:
                record_without_training(prepared, *where, tracking, known)
                return known
            prepared.loaders.preload(self.observer.loading)
            report = partial(report_epoch, trial, self.queue, self.config, costs(prepared))
            seconds = self.config.trial_timeout
            since = last_passed(trial.user_attrs)
            options = RunOptions(self.observer, report, seconds, since, self.config.metrics)
            result, _ = run(prepared, *where, tracking, options)
        except (DataError, FullError):  # every further trial would raise it too
            raise
        except Exception as error:  # a crash or an invalid combination in one trial must not end the others
            if full(error):
                raise FullError(no_room(error, self.home.root)) from error
            if transient(error):
                self._back_off(trial, error)
                raise  # ends this process; the next worker retries the trial
            return self._close_run(trial, crashed(error))
        return result

    def _back_off(self, trial: Trial, error: Exception) -> None:
        """Wait, longer each time, before a retry after a transient error; store the error with the trial."""
        trial.set_user_attr(ERROR, reason(error))
        _, times = trial.user_attrs.get(DIED, (0, 0))
        time.sleep(2.0**times)

    def _finish(self, trial: Trial, result: RunResult) -> None:
        run_id = self.run_id(trial.number)
        for key, text in (("outcome", str(result.outcome)), ("reason", result.reason)):
            trial.set_user_attr(key, text)
        state, values = STATES.get(result.outcome, TrialState.FAIL), None
        if state is TrialState.COMPLETE:
            stored = read_result(self.home.run(run_id))
            assert stored is not None  # written before the result is reported to Optuna
            values = run_values(Entry(run_id, *stored), self.config.goals)
            for goal, value in zip(self.config.goals, values or (), strict=bool(values)):
                if goal.bound is not None:
                    constrain(trial, f"bound.{goal.metric}", goal.shortfall(value))
        with suppress(UpdateFinishedTrialError):  # already reported, before the connection broke
            trial.study.tell(trial, values, state=state, skip_if_finished=True)
        remove_unneeded_files(self.home.run(run_id), result.outcome, self.config.experiment, trial=True)

    def run_id(self, number: int) -> str:
        """The name of a trial's run."""
        return trial_run_id(self.config.name, number)


def over_limits_result(trial: Trial, prepared: Prepared, limits: LimitsConfig) -> RunResult | None:
    """A result for a network beyond the study's limits, and by how much, for the sampler; None within them."""
    for what, found in costs(prepared).items():
        limit = getattr(limits, what)
        if limit is not None and found > limit:
            constrain(trial, f"limits.{what}", found / limit - 1)
            text = f"{found:,.10g} {what}, and limits.{what} is {limit:,.10g}"
            return RunResult(Outcome.PRUNED, text, None, 0, 0, 0.0)
    return None


def constrain(trial: Trial, what: str, excess: float) -> None:
    """Store in Optuna by how much a trial exceeds a limit, unless a killed worker has stored it already."""
    if what not in trial.constraints:
        trial.set_constraint(what, excess)


def duplicate_result(
    trial: Trial, fingerprint: str, weights: Mapping[str, Any], queue: TrialQueue, home: Home
) -> RunResult | None:
    """The result of another trial with the same configuration and weights, which this one would reproduce."""
    if checkpoint_mtime(home, trial_run_id(queue.study_name, trial.number)):
        return None  # this trial has already started training
    for other in queue.trials():
        if other.number == trial.number or other.user_attrs.get(FINGERPRINT) != fingerprint:
            continue
        found = read_result(home.run(trial_run_id(queue.study_name, other.number)))
        if found is None or found[0].outcome not in REPEATABLE or found[1].get("weights", {}) != weights:
            continue
        same = f"the same as trial {other.number}"
        if other.state.is_finished():
            trial.set_user_attr(DUPLICATE_OF, other.number)
            copy_epochs(other, trial)
            return replace(found[0], reason=same, seconds=0.0)
        if paused_at(other.user_attrs):
            trial.set_user_attr(DUPLICATE_OF, other.number)
            return replace(found[0], reason=f"{same}, which goes on for both", seconds=0.0)
    return None


def copy_epochs(other: FrozenTrial, trial: Trial) -> None:
    """Copy another trial's reported values of each epoch to a trial."""
    for epoch, value in other.intermediate_values.items():
        trial.report(value, epoch)
    for key, value in other.user_attrs.items():
        if key.startswith(EPOCH):
            trial.set_user_attr(key, value)


def checkpoint_mtime(home: Home, run_id: str) -> int:
    """A number that changes with each checkpoint of a run; 0 before the first."""
    checkpoint = home.run(run_id) / CHECKPOINT
    return checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0


def count_crash(queue: TrialQueue, home: Home, number: int) -> None:
    """Record the death of a trial's process, counting deaths at the same checkpoint."""
    trial_id, at = queue.trial_id(number), checkpoint_mtime(home, trial_run_id(queue.study_name, number))
    before, times = queue.storage.get_trial(trial_id).user_attrs.get(DIED, (0, 0))
    with suppress(UpdateFinishedTrialError):
        queue.storage.set_trial_user_attr(trial_id, DIED, (at, times + 1 if before == at else 1))


def mark_timed_out(queue: TrialQueue, number: int, seconds: float) -> None:
    """Record that a trial's process is killed because it did not stop at its time limit."""
    with suppress(UpdateFinishedTrialError):
        queue.storage.set_trial_user_attr(queue.trial_id(number), OVERDUE, seconds)
