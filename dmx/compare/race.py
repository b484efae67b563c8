"""Finalists of a study: which trials may be the best, and which of them is, once they are trained with several seeds.

The best of many noisy values is a lucky one. So the first trials are trained anew with one seed after another, and a
finalist is out as soon as it is clearly worse than the leader: a race.

Source: Birattari et al. 2002, "A racing algorithm for configuring metaheuristics"; López-Ibáñez et al. 2016, "The irace
package". Deviation: their tests are over instances; the one here is that of `dmx compare`, over seeds and groups of
validation samples, because a study has one data set and few seeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dmx.compare.difference import Difference
from dmx.compare.leads import differences
from dmx.config.objective import COSTS, Goal
from dmx.outcome import Outcome
from dmx.results.pareto import best_choice, run_values
from dmx.results.ranking import Entry
from dmx.tracking.home import Home

Seeds = Mapping[str, Sequence[Entry]]
"""The runs of each finalist, by the run of its trial."""


@dataclass(frozen=True)
class Finalist:
    """A finalist beside the leader.

    Attributes:
        trial: The run of its trial.
        values: The mean of each objective over its seeds.
        seeds: How many there are.
        differences: From the leader, one for each objective that is a validation metric; empty for the leader.
    """

    trial: str
    values: tuple[float, ...]
    seeds: int
    differences: tuple[Difference, ...] = ()

    @property
    def clearly_worse(self) -> bool:
        """Whether it is clearly worse than the leader in an objective, and clearly better in none."""
        clear = {one.verdict.removeprefix("network ") for one in self.differences}
        return "worse" in clear and "better" not in clear


def means(found: Seeds, goals: Sequence[Goal]) -> dict[str, list[float]]:
    """The mean of each objective over the seeds of each finalist that has any."""
    by_seed = {trial: [run_values(entry, goals) or [] for entry in seeds] for trial, seeds in found.items()}
    return {
        trial: [sum(column) / len(values) for column in zip(*values, strict=True)]
        for trial, values in by_seed.items()
        if values
    }


def standings(home: Home, found: Seeds, goals: Sequence[Goal]) -> list[Finalist]:
    """The leader by the means over seeds, then the others in the order in which they were given.

    Args:
        home: The results folder.
        found: The finalists' runs; those that did not come to an end are left out.
        goals: The objectives that decide.
    """
    ended = {trial: [entry for entry in seeds if _has_values(entry, goals)] for trial, seeds in found.items()}
    values = means(ended, goals)
    if not values:
        return []
    trials = [*values]
    first = trials[best_choice([*values.values()], goals)]
    others = [trial for trial in trials if trial != first]
    metrics = [goal.metric for goal in goals if goal.metric not in COSTS]
    by_trial = differences(home, ended[first], {trial: ended[trial] for trial in others}, metrics)
    return [
        Finalist(trial, tuple(values[trial]), len(ended[trial]), tuple(by_trial.get(trial, ())))
        for trial in (first, *others)
    ]


def _has_values(entry: Entry, goals: Sequence[Goal]) -> bool:
    return entry.result.outcome is Outcome.COMPLETE and run_values(entry, goals) is not None


def compared(one: Finalist) -> str:
    """The differences of a finalist from the leader, as text; empty for the leader."""
    return "; ".join(f"{d.value:+.3g} [{d.low:+.2g}, {d.high:+.2g}], {d.verdict}" for d in one.differences)


def certainty(found: Sequence[Finalist]) -> str:
    """How sure the choice of the leader is, in a sentence; `found` has the leader first, and others."""
    leader, close = found[0], [one.trial for one in found[1:] if not one.clearly_worse]
    if not close:
        return f"The choice of {leader.trial} is sure: all others are clearly worse."
    one_seed = " Several `train_best.seeds` would say more." if leader.seeds == 1 else ""
    return f"{leader.trial} leads; it cannot be told apart from {', '.join(close)}.{one_seed}"
