"""One who works on a study: claims a trial, trains it, tells how it ended, and claims the next."""

import time
from collections.abc import Iterator
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
from dmx.errors import DataError
from dmx.experiment import Prepared, crashed, prepare, read_result, run, run_known, sizes
from dmx.experiment.ranking import Entry
from dmx.outcome import Outcome
from dmx.sweep.claims import Claims
from dmx.sweep.judging import DECISION, EPOCH, judge, judged_by
from dmx.sweep.suggest import propose
from dmx.sweep.watcher import Watcher
from dmx.tracking import RunStart, open_run, sync
from dmx.tracking.home import Home
from dmx.training.result import RunResult
from dmx.training.trainer import CHECKPOINT

STATES = {Outcome.COMPLETE: TrialState.COMPLETE, Outcome.PRUNED: TrialState.PRUNED}
"""Every other outcome that ends a trial is FAIL; an interrupted trial waits for the next who claims it."""
DEATHS = 8
"""So often a trial may take its process with it, without a new checkpoint between, before it is given up."""
DIED, FINGERPRINT = "died", "fingerprint"
REPEATABLE = (Outcome.COMPLETE, Outcome.PRUNED, Outcome.DIVERGED)
"""Outcomes that the same configuration would have again."""
PAUSE = 0.5
"""Seconds between two looks for a trial while others run."""


@dataclass
class Worker:
    """Works on a study until nothing is left to do."""

    config: StudyConfig
    home: Home
    claims: Claims
    space: Space
    watcher: Watcher
    interrupted: bool = field(default=False, init=False)
    unsent: int = field(default=0, init=False)

    def work(self) -> Iterator[RunResult]:
        """Each trial that has come to an end, until all have or somebody interrupts.

        While others still run, this waits: one of them may come back.
        """
        while not self.interrupted and self.claims.finished() < self.config.trials:
            self.claims.release_silent()
            number = self.claims.claim()
            if number is None:
                time.sleep(PAUSE)
            elif (result := self._trial(number)) is not None:
                yield result

    def _trial(self, number: int) -> RunResult | None:
        """Propose, train and tell; a trial that does not come to an end goes back into the queue, and gives None."""
        ended = False
        self.watcher.claimed(number)
        try:
            with self.claims.alive(number):
                trial, drawn = propose(self.claims, self.config, self.space, number)
                self.watcher.trial(number, self.config.trials, drawn)
                result = self._ended(trial) or self._given_up(trial) or self._train(trial, drawn)
                ended = result.outcome is not Outcome.INTERRUPTED
                if not ended:
                    self.interrupted = True
                    return None
                self._tell(trial, result)
        finally:
            if not ended:
                self.claims.release(number)
        self.watcher.told(number, result)
        return result

    def _ended(self, trial: Trial) -> RunResult | None:
        """The result of a run whose process was killed between its end and the telling."""
        run_id = self.run_id(trial.number)
        found = read_result(self.home.run(run_id))
        if found is None or found[0].outcome is Outcome.INTERRUPTED:
            return None
        self.unsent += sync(self.home, run_id)
        return found[0]

    def _given_up(self, trial: Trial) -> RunResult | None:
        """A result where one and the same part of a run has ended its process again and again."""
        at, times = trial.user_attrs.get(DIED, (0, 0))
        if times < DEATHS or at != reached(self.home, self.run_id(trial.number)):
            return None
        return self._crashed(trial, RuntimeError(f"its process died {DEATHS} times without a new checkpoint between"))

    def _crashed(self, trial: Trial, error: Exception) -> RunResult:
        """The result of a trial that ended in `error`, which its run in the stores has too, whenever it happened."""
        result, run_id = crashed(error), self.run_id(trial.number)
        if (known := read_result(self.home.run(run_id))) is None or known[0].outcome is Outcome.INTERRUPTED:
            tracker = open_run(self.home, run_id, RunStart(self.config.name, run_id, self._tags(trial)))
            self.unsent += tracker.finish(result.outcome, result.reason)
        return result

    def _tags(self, trial: Trial) -> dict[str, str]:
        return {"dmx.role": "trial", "dmx.study": self.config.name, "dmx.trial": str(trial.number)}

    def _train(self, trial: Trial, drawn: dict[str, Any]) -> RunResult:
        where: Any = {"experiment": self.config.name, "tags": self._tags(trial)}
        place = self.home, self.run_id(trial.number)
        try:
            config = parse_experiment(self.space.raw(drawn), f"trial {trial.number}")
            trial.set_user_attr(FINGERPRINT, config.fingerprint)
            prepared = prepare(config, self.home, self.watcher.loading, load=False)
            if known := too_large(prepared, self.config.limits) or self._twin(trial, config.fingerprint):
                self.unsent += run_known(prepared, *place, **where, result=known)
                return known
            prepared.loaders.preload(self.watcher.loading)
            report = partial(judge, trial, self.claims, self.config, sizes(prepared))
            seconds = self.config.trial_timeout
            result, unsent = run(prepared, *place, **where, progress=self.watcher, report=report, seconds=seconds)
            self.unsent += unsent
        except DataError:  # which every further trial would meet
            raise
        except Exception as error:  # one trial's crash, or what does not go together in it, must not end the others
            return self._crashed(trial, error)
        return result

    def _twin(self, trial: Trial, fingerprint: str) -> RunResult | None:
        """The result of an earlier trial of the same configuration, which would come out the same."""
        if reached(self.home, self.run_id(trial.number)):
            return None  # it has begun to train already
        for other in self.claims.trials():
            same = other.number != trial.number and other.user_attrs.get(FINGERPRINT) == fingerprint
            if same and other.user_attrs.get("outcome") in REPEATABLE:
                found = read_result(self.home.run(str(other.user_attrs["run"])))
                if found is not None:
                    repeat(other, trial)
                    return replace(found[0], reason=f"the same as trial {other.number}", seconds=0.0)
        return None

    def _tell(self, trial: Trial, result: RunResult) -> None:
        told = {"run": self.run_id(trial.number), "outcome": str(result.outcome), "reason": result.reason}
        for key, text in told.items():
            trial.set_user_attr(key, text)
        state, found = STATES.get(result.outcome, TrialState.FAIL), None
        if state is TrialState.COMPLETE and (known := read_result(self.home.run(told["run"]))) is not None:
            found = judged_by(Entry(told["run"], *known), self.config.goals)
        if found is None and state is TrialState.COMPLETE:  # an objective was undefined in every epoch
            state = TrialState.FAIL
        trial.study.tell(trial, found, state=state, skip_if_finished=True)

    def run_id(self, number: int) -> str:
        """The name of a trial's run."""
        return run_id_of(self.config.name, number)


def repeat(other: FrozenTrial, trial: Trial) -> None:
    """Give a trial what another one showed epoch by epoch."""
    for epoch, value in other.intermediate_values.items():
        trial.report(value, epoch)
    for key, value in other.user_attrs.items():
        if key.startswith((EPOCH, DECISION)):
            trial.set_user_attr(key, value)


def too_large(prepared: Prepared, limits: LimitsConfig) -> RunResult | None:
    """A result for a network beyond the study's limits."""
    for what, found in sizes(prepared).items():
        limit = getattr(limits, what)
        if limit is not None and found > limit:
            return RunResult(Outcome.PRUNED, f"{found:,} {what}, and limits.{what} is {limit:,.0f}", None, 0, 0, 0.0)
    return None


def run_id_of(study: str, number: int) -> str:
    """The name of a trial's run."""
    return f"{study}-{number:04d}"


def reached(home: Home, run_id: str) -> int:
    """A number that changes with each checkpoint of a run; 0 before the first."""
    checkpoint = home.run(run_id) / CHECKPOINT
    return checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0


def note_death(claims: Claims, home: Home, number: int) -> None:
    """Put on record that a trial's process has died, and how often it has at the same checkpoint."""
    id, at = claims.id_of(number), reached(home, run_id_of(claims.study, number))
    before, times = claims.storage.get_trial(id).user_attrs.get(DIED, (0, 0))
    with suppress(UpdateFinishedTrialError):
        claims.storage.set_trial_user_attr(id, DIED, (at, times + 1 if before == at else 1))
