"""Trials whose result is known before they are trained, or again and again not come to."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

from optuna import Trial
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial

from dmx.config.study import LimitsConfig
from dmx.errors import UserError
from dmx.experiment import Prepared, costs
from dmx.outcome import Outcome
from dmx.results.records import read_result
from dmx.sweep.claims import Claims
from dmx.sweep.halving import EPOCH, TWIN, held
from dmx.tracking.home import Home
from dmx.training.result import RunResult
from dmx.training.trainer import CHECKPOINT

DIED, OVERDUE, FINGERPRINT, RUN = "died", "overdue", "fingerprint", "run"
REPEATABLE = (Outcome.COMPLETE, Outcome.PRUNED, Outcome.DIVERGED, Outcome.UNDEFINED)
"""Outcomes that the same configuration would have again."""


def twin(trial: Trial, fingerprint: str, claims: Claims, home: Home) -> RunResult | None:
    """The result of an earlier trial of the same configuration, which would come out the same."""
    if reached(home, run_id_of(claims.study, trial.number)):
        return None  # it has begun to train already
    for other in claims.trials():
        if other.number == trial.number or other.user_attrs.get(FINGERPRINT) != fingerprint:
            continue
        found = read_result(home.run(run_id_of(claims.study, other.number)))
        if found is None or found[0].outcome not in REPEATABLE:
            continue
        same = f"the same as trial {other.number}"
        if other.state.is_finished():
            trial.set_user_attr(TWIN, other.number)
            repeat(other, trial)
            return replace(found[0], reason=same, seconds=0.0)
        if held(other.user_attrs):
            trial.set_user_attr(TWIN, other.number)
            return replace(found[0], reason=f"{same}, which goes on for both", seconds=0.0)
    return None


def repeat(other: FrozenTrial, trial: Trial) -> None:
    """Give a trial what another one showed epoch by epoch."""
    for epoch, value in other.intermediate_values.items():
        trial.report(value, epoch)
    for key, value in other.user_attrs.items():
        if key.startswith(EPOCH):
            trial.set_user_attr(key, value)


def too_large(prepared: Prepared, limits: LimitsConfig) -> RunResult | None:
    """A result for a network beyond the study's limits."""
    for what, found in costs(prepared).items():
        limit = getattr(limits, what)
        if limit is not None and found > limit:
            return RunResult(
                Outcome.PRUNED, f"{found:,.10g} {what}, and limits.{what} is {limit:,.10g}", None, 0, 0, 0.0
            )
    return None


def run_id_of(study: str, number: int) -> str:
    """The name of a trial's run."""
    return f"{study}-{number:04d}"


def no_trials() -> list[FrozenTrial]:
    """The trials of a study whose journal is not there."""
    return []


def check_own(home: Home, study: str, numbers: Iterable[int], trials: Callable[[], Sequence[FrozenTrial]]) -> None:
    """Make sure that every run that is named like one of these trials of a study is that trial's.

    Trials are asked after folders: each is given its run before the run's folder is made.

    Raises:
        UserError: One is not: the trials are elsewhere, or were removed.
    """
    there = [number for number in numbers if home.run(run_id_of(study, number)).exists()]
    begun = {trial.number for trial in trials() if RUN in trial.user_attrs} if there else set()
    for number in there:
        if number not in begun:
            raise UserError(
                f"{home.run(run_id_of(study, number))} is there, but is no run of this study as its trials stand: "
                f"these are elsewhere, or were removed from {home.study(study)}. Bring them back from a copy, or "
                "remove the folders of the old runs as well to begin anew, or give the study another `name`, or "
                "another --home."
            )


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


def note_overdue(claims: Claims, number: int, seconds: float) -> None:
    """Put on record that a trial's process has been ended because it did not end itself when its time was over."""
    with suppress(UpdateFinishedTrialError):
        claims.storage.set_trial_user_attr(claims.id_of(number), OVERDUE, seconds)
