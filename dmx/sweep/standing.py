"""Where a study stands."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from optuna.trial import TrialState

from dmx.sweep.claims import Claims
from dmx.sweep.fronts import falling, hypervolume
from dmx.sweep.halving import held
from dmx.sweep.judging import front


@dataclass(frozen=True)
class Standing:
    """How many trials have come to what.

    Attributes:
        counts: How many have ended with each outcome.
        held: The numbers of those that are held.
        best: The first objective's best value, and whose it is.
    """

    counts: Mapping[str, int]
    held: frozenset[int]
    best: tuple[float, int] | None


def standing(claims: Claims) -> Standing:
    """Where a study stands now."""
    trials = claims.trials()
    ended = Counter(str(t.user_attrs.get("outcome", t.state.name.lower())) for t in trials if t.state.is_finished())
    waiting = (t.number for t in trials if t.state is TrialState.WAITING and held(t.user_attrs))
    values = [(t.values[0], t.number) for t in trials if t.state is TrialState.COMPLETE]
    lower = claims.fresh().directions[0].name == "MINIMIZE"
    return Standing(ended, frozenset(waiting), (min if lower else max)(values, default=None))


def complete(claims: Claims) -> int:
    """How many trials are complete."""
    return sum(trial.state is TrialState.COMPLETE for trial in claims.trials())


def standing_of(claims: Claims) -> dict[str, float]:
    """How many trials have ended in which way, and the best value, or the size of the front and what lies before it.

    The hypervolume's reference is the first trial, the study's own experiment: it is what the front gains over that, as
    a share of its values.
    """
    trials = claims.trials()
    counts = {
        f"trials/{state.name.lower()}": float(sum(trial.state is state for trial in trials))
        for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    }
    if not counts["trials/complete"]:
        return counts
    directions = [direction.name.lower() for direction in claims.fresh().directions]
    if len(directions) == 1:
        complete = [trial.value for trial in trials if trial.state is TrialState.COMPLETE and trial.value is not None]
        return {**counts, "trials/best_value": (max if directions == ["maximize"] else min)(complete)}
    best = front(trials, directions)
    own = [trial.values for trial in trials[:1] if trial.values]
    if not own:
        return {**counts, "trials/front": float(len(best))}
    F, reference = falling([trial.values for trial in best], directions), falling(own, directions)[0]
    unit = np.where(reference == 0, 1, np.abs(reference))
    gained = hypervolume(F / unit, reference / unit)
    return {**counts, "trials/front": float(len(best)), "trials/hypervolume": gained}
