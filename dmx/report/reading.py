"""Read an Optuna study as plain data; the only module of the report that depends on Optuna."""

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from optuna import Study as Study
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from dmx.outcome import Outcome
from dmx.registry import Scalar
from dmx.results.ranking import Entry

FEWEST = 4
"""Number of complete trials below which importances are meaningless."""


@dataclass(frozen=True)
class Trial:
    """A finished trial as Optuna stores it, and its run's result if one is stored."""

    number: int
    outcome: str
    reason: str
    run: str
    params: Mapping[str, Scalar]
    values: tuple[float, ...]
    """One value per objective for a complete trial, else empty."""
    began: datetime | None
    ended: datetime | None
    entry: Entry | None

    @property
    def value(self) -> float | None:
        """The objective: Optuna's value for a complete trial, else the value of the best epoch."""
        if self.values:
            return self.values[0]
        return self.entry.result.best.value if self.entry and self.entry.result.best else None

    @property
    def complete(self) -> bool:
        """Whether the trial completed with a value."""
        return self.outcome == Outcome.COMPLETE and bool(self.values)

    @property
    def planned(self) -> int | None:
        """The planned number of epochs; None if its run is not stored."""
        return planned(self.entry.record["params"]) if self.entry else None


def planned(params: Mapping[str, Any]) -> int:
    """Sum the epochs in a record's stages, such as `4x64@16, 2x(96, 128)@16`."""
    return sum(int(epochs) for epochs in re.findall(r"(?:^|, )(\d+)x", params["stages"]))


@dataclass(frozen=True)
class Axis:
    """One parameter that varied."""

    path: str
    words: str
    choices: tuple[Scalar, ...]
    """The choices of a categorical parameter; empty for a numeric one."""
    log: bool
    drawn: int
    """Number of finished trials that have drawn it."""


@dataclass(frozen=True)
class Importances:
    """The share of the objective's variance that each parameter explains, highest first; or why it is unknown."""

    shares: Mapping[str, float]
    trials: int
    why_not: str = ""


def finished_trials(study: Study, entries: Mapping[str, Entry]) -> tuple[Trial, ...]:
    """The finished trials, ordered by number, with the stored results of their runs."""
    return tuple(_trial(trial, entries) for trial in study.get_trials(deepcopy=False) if trial.state.is_finished())


def _trial(trial: FrozenTrial, entries: Mapping[str, Entry]) -> Trial:
    attributes, run = trial.user_attrs, str(trial.user_attrs.get("run", ""))
    return Trial(
        trial.number,
        str(attributes.get("outcome", trial.state.name.lower())),
        str(attributes.get("reason", "")),
        run,
        trial.params,
        tuple(trial.values) if trial.state is TrialState.COMPLETE else (),
        trial.datetime_start,
        trial.datetime_complete,
        entries.get(run),
    )


def directions(study: Study) -> tuple[str, ...]:
    """Return `minimize` or `maximize` for each objective."""
    return tuple(direction.name.lower() for direction in study.directions)


def axes(study: Study) -> tuple[Axis, ...]:
    """Return every parameter that a finished trial has drawn, in order of first appearance."""
    found: dict[str, list[BaseDistribution]] = {}
    for trial in study.get_trials(deepcopy=False):
        for path, distribution in trial.distributions.items() if trial.state.is_finished() else ():
            found.setdefault(path, []).append(distribution)
    return tuple(_axis(path, each) for path, each in found.items())


def _axis(path: str, drawn: Sequence[BaseDistribution]) -> Axis:
    first = drawn[0]
    if isinstance(first, CategoricalDistribution):
        words = " | ".join(map(str, first.choices)) if len(first.choices) > 1 else f"always {first.choices[0]}"
        return Axis(path, words, tuple(first.choices), log=False, drawn=len(drawn))
    assert isinstance(first, IntDistribution | FloatDistribution)  # Optuna knows no other
    steps = (
        f", in steps of {first.step:g}"
        if first.step and (isinstance(first, FloatDistribution) or first.step > 1)
        else ""
    )
    words = f"{first.low:g} to {first.high:g}{', logarithmic' if first.log else ''}{steps}"
    return Axis(path, words, (), first.log, len(drawn))


def importances(study: Study, objective: int = 0) -> Importances:
    """Compute Optuna's fANOVA (Hutter, Hoos and Leyton-Brown 2014) of one objective over the complete trials.

    Only parameters that every complete trial has drawn, with more than one distinct value, can be included.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < FEWEST:
        why = f"{len(complete)} complete trials are too few; fANOVA fits a forest to them and needs {FEWEST} at least"
        return Importances({}, len(complete), why)
    common = [path for path in complete[0].params if all(path in trial.params for trial in complete)]
    varied = [path for path in common if len({trial.params[path] for trial in complete}) > 1]
    if not varied:
        return Importances({}, len(complete), "no parameter varies over all complete trials")
    if len({trial.values[objective] for trial in complete}) == 1:
        return Importances({}, len(complete), "all complete trials have the same value")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        evaluator = FanovaImportanceEvaluator(seed=0)
        shares = get_param_importances(
            study, evaluator=evaluator, params=varied, target=lambda trial: trial.values[objective]
        )
        return Importances(shares, len(complete))
