"""One who works on a study: claims a trial, trains it, tells how it ended, and claims the next."""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from optuna import Trial
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from dmx.config import StudyConfig, parse_experiment
from dmx.config.space import Space
from dmx.errors import DataError, FullError, full
from dmx.experiment import costs, prepare, run, run_known, tidy
from dmx.experiment.failures import crashed, no_room, reason, transient
from dmx.outcome import Outcome
from dmx.results.ranking import Entry
from dmx.results.records import read_result
from dmx.sweep.claims import BEAT, Claims
from dmx.sweep.halving import Turn, held, passed, take, turns
from dmx.sweep.judging import judge, judged_by
from dmx.sweep.known import DIED, FINGERPRINT, OVERDUE, RUN, check_own, reached, run_id_of, too_large, twin
from dmx.sweep.suggest import first_trials, propose
from dmx.sweep.watcher import Watcher
from dmx.tracking import RunStart, open_run, sync
from dmx.tracking.home import Home
from dmx.training.result import RunResult

STATES = {Outcome.COMPLETE: TrialState.COMPLETE, Outcome.PRUNED: TrialState.PRUNED}
"""Every other outcome that ends a trial is FAIL; an interrupted trial waits for the next who claims it."""
DEATHS = 8
"""So often a trial may take its process with it, without a new checkpoint between, before it is given up."""
ERROR = "error"
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
    runs: set[str] = field(default_factory=set, init=False)
    silent: dict[int, float] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.first = first_trials(self.config, self.space)

    def work(self) -> Iterator[RunResult]:
        """Each trial that has come to an end, until all have or somebody interrupts.

        While others still run, this waits: one of them may come back.
        """
        while not self.interrupted and self.claims.finished() < self.config.trials:
            self._release_silent()
            possible = turns(self.claims.trials(), self.config)
            turn = next((turn for turn in possible if self.claims.claim(turn.number)), None)
            if turn is None:
                time.sleep(PAUSE)
            elif (result := self._trial(turn)) is not None:
                yield result

    def _release_silent(self) -> None:
        """Free trials of other machines that have been silent at each look for longer than a sign of life takes.

        One look is not enough: while the database was away nobody could give any.
        """
        now = time.monotonic()
        self.silent = {number: self.silent.get(number, now) for number in self.claims.silent()}
        self.claims.release_silent({number for number, since in self.silent.items() if now - since > BEAT + 5})

    def _trial(self, turn: Turn) -> RunResult | None:
        """Propose, train and tell; a trial that does not come to an end waits again, and gives None."""
        number, ended = turn.number, False
        self.watcher.claimed(number)
        try:
            with self.claims.alive(number):
                trial, drawn = propose(self.claims, self.config, self.space, number, self.first)
                self._begin(trial)
                self.runs.add(self.run_id(number))
                if turn.decision is not None and not take(trial, turn.decision):
                    return None  # another worker was faster
                if not turn.ends:
                    self.watcher.trial(number, self.config.trials, drawn)
                result = self._ended(trial) or self._given_up(trial) or self._train(trial, drawn)
                if result.outcome is Outcome.INTERRUPTED:
                    self.interrupted = True
                    return None
                if held(trial.user_attrs) and not turn.ends and result.outcome is Outcome.PRUNED:
                    self.watcher.held(number, result)
                    return None
                if not self.claims.mine(number):
                    return None  # silent for too long: another worker has it
                self._tell(trial, result)
                ended = True
        finally:
            if not ended:
                self.claims.release()
        self.watcher.told(number, result)
        return result

    def _begin(self, trial: Trial) -> None:
        """Give a trial its run.

        Raises:
            UserError: A run of that name is another study's.
        """
        if RUN in trial.user_attrs:
            return
        check_own(self.home, self.config.name, [trial.number], self.claims.trials)
        trial.set_user_attr(RUN, self.run_id(trial.number))

    def _ended(self, trial: Trial) -> RunResult | None:
        """The result of a run whose process was killed between its end and the telling."""
        run_id = self.run_id(trial.number)
        found = read_result(self.home.run(run_id))
        if found is None or found[0].outcome is Outcome.INTERRUPTED:
            return None
        if found[0].outcome is Outcome.PRUNED and 0 < found[0].epochs <= passed(trial.user_attrs):
            return None  # it was held there, and goes on
        sync(self.home, run_id)
        return found[0]

    def _given_up(self, trial: Trial) -> RunResult | None:
        """A result where one and the same part of a run has ended its process again and again, or never ended."""
        if (seconds := trial.user_attrs.get(OVERDUE)) is not None:
            what = f"{seconds:g} s are over, and its step did not end; its process was ended"
            return self._closed(trial, RunResult(Outcome.TIMED_OUT, what, None, 0, 0, seconds))
        at, times = trial.user_attrs.get(DIED, (0, 0))
        if times < DEATHS or at != reached(self.home, self.run_id(trial.number)):
            return None
        last = f"; {error}" if (error := trial.user_attrs.get(ERROR)) else ""
        what = f"its process died {DEATHS} times without a new checkpoint between{last}"
        return self._crashed(trial, RuntimeError(what))

    def _crashed(self, trial: Trial, error: Exception) -> RunResult:
        """The result of a trial that ended in `error`, which its run in the stores has too, whenever it happened."""
        return self._closed(trial, crashed(error))

    def _closed(self, trial: Trial, result: RunResult) -> RunResult:
        """`result`, which the trial's run in the stores has too."""
        run_id = self.run_id(trial.number)
        if (known := read_result(self.home.run(run_id))) is None or known[0].outcome is Outcome.INTERRUPTED:
            tracker = open_run(self.home, run_id, RunStart(self.config.name, run_id, self._tags(trial)))
            tracker.finish(result.outcome, result.reason)
        return result

    def _tags(self, trial: Trial) -> dict[str, str]:
        return {"dmx.role": "trial", "dmx.study": self.config.name, "dmx.trial": str(trial.number)}

    def _train(self, trial: Trial, drawn: dict[str, Any]) -> RunResult:
        where: Any = {"experiment": self.config.name, "tags": self._tags(trial), "searched": trial.params}
        books, place = (self.claims, self.home), (self.home, self.run_id(trial.number))
        try:
            config = parse_experiment(self.space.raw(drawn), f"trial {trial.number}")
            trial.set_user_attr(FINGERPRINT, config.fingerprint)
            prepared = prepare(config, self.home, self.watcher.loading, load=False, measure=self.config.measured)
            if known := too_large(prepared, self.config.limits) or twin(trial, config.fingerprint, *books):
                run_known(prepared, *place, **where, result=known)
                return known
            prepared.loaders.preload(self.watcher.loading)
            report = partial(judge, trial, self.claims, self.config, costs(prepared))
            seconds = self.config.trial_timeout
            since = passed(trial.user_attrs)
            where |= {"progress": self.watcher, "report": report, "seconds": seconds, "passed": since}
            where |= {"also": self.config.metrics}
            result, _ = run(prepared, *place, **where)
        except (DataError, FullError):  # which every further trial would meet
            raise
        except Exception as error:  # one trial's crash, or what does not go together in it, must not end the others
            if full(error):
                raise FullError(no_room(error, self.home.root)) from error
            if transient(error):
                self._pause(trial, error)
                raise  # with this process; the next one goes on
            return self._crashed(trial, error)
        return result

    def _pause(self, trial: Trial, error: Exception) -> None:
        """Wait, longer each time, for what is away to come back; why, is on record."""
        trial.set_user_attr(ERROR, reason(error))
        _, times = trial.user_attrs.get(DIED, (0, 0))
        time.sleep(2.0**times)

    def _tell(self, trial: Trial, result: RunResult) -> None:
        run_id = self.run_id(trial.number)
        for key, text in (("outcome", str(result.outcome)), ("reason", result.reason)):
            trial.set_user_attr(key, text)
        state, found = STATES.get(result.outcome, TrialState.FAIL), None
        if state is TrialState.COMPLETE:
            known = read_result(self.home.run(run_id))
            assert known is not None  # it is written before anything is told
            found = judged_by(Entry(run_id, *known), self.config.goals)
        with suppress(UpdateFinishedTrialError):  # told, and then the database broke off
            trial.study.tell(trial, found, state=state, skip_if_finished=True)
        tidy(self.home.run(run_id), result.outcome, self.config.experiment, trial=True)

    def run_id(self, number: int) -> str:
        """The name of a trial's run."""
        return run_id_of(self.config.name, number)
