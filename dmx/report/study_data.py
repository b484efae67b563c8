"""All data that the report shows of a study, gathered once; the sections only render it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dmx.compare.race import Finalist, standings
from dmx.config import StudyConfig
from dmx.errors import UserError
from dmx.report.reading import Axis, Importances, Study, Trial, axes, directions, finished_trials, importances
from dmx.results.pareto import levels, points, rank_runs
from dmx.results.ranking import Entry, rank, results
from dmx.results.records import Chosen, read_chosen
from dmx.tracking.home import CHAMPION, Home

APART = ("name", "seed", "stages")
"""Configuration keys in which a run of `train-best` may differ from its trial."""


@dataclass(frozen=True)
class StudyData:
    """The current state of a study.

    Attributes:
        config: Its configuration.
        home: The folder of results.
        directions: `minimize` or `maximize` for each objective.
        trials: Finished trials, ordered by number.
        ranked: Stored results, best first.
        seeds: Runs of `dmx train-best` with the winner's configuration, best first; with several objectives the winner
            is the trial that it took.
        finalists: All trials that were trained anew, the best over its seeds first.
        others: Number of `dmx train-best` runs of other trials.
        champion: What `dmx train-best` chose, if its trial is one of the finalists.
        axes: The parameters that varied.
        importances: Parameter importances for each objective.
    """

    config: StudyConfig
    home: Home
    directions: tuple[str, ...]
    trials: tuple[Trial, ...]
    ranked: tuple[Entry, ...]
    seeds: tuple[Entry, ...]
    finalists: tuple[Finalist, ...]
    others: int
    champion: Chosen | None
    axes: tuple[Axis, ...]
    importances: tuple[Importances, ...]

    @property
    def metric(self) -> str:
        """The objective of the study."""
        return self.config.experiment.objective.metric

    @property
    def goals(self) -> list[str]:
        """The names of all objectives, the first one first."""
        return [goal.metric for goal in self.config.goals]

    @property
    def front(self) -> list[Trial]:
        """The non-dominated complete trials, of those that meet the bounds, ordered by the first objective."""
        complete = self.complete
        if not complete:
            return []
        first = levels(*points([trial.values for trial in complete], self.config.goals)) == 0
        return [trial for trial, unbeaten in zip(complete, first, strict=True) if unbeaten]

    @property
    def bounds(self) -> str:
        """The bounds of the objectives, as a sentence has them; empty without any."""
        return " and ".join(str(goal) for goal in self.config.goals if goal.bound is not None)

    @property
    def complete(self) -> list[Trial]:
        """The complete trials, best first."""
        return best_first(self.trials, self.directions[0])


def gather(config: StudyConfig, study: Study, home: Home) -> StudyData:
    """Gather everything about the study `config.name` in `home`; nothing is written.

    Raises:
        UserError: No trial has finished.
    """
    entries = {entry.run: entry for entry in results(home, config.name)}
    trials = finished_trials(study, entries)
    if not trials:
        raise UserError(
            f"no trial of study '{config.name}' in {home.root} has ended, so there is nothing to report; "
            "run `dmx sweep` first, or wait for its first trial."
        )
    ranked = rank_runs([*entries.values()], config.goals)[0] if config.objectives else rank([*entries.values()])
    retrained, chosen = results(home, config.name, role="best"), read_chosen(home.study(config.name) / CHAMPION)
    winner = winner_of(trials, directions(study), retrained, chosen)
    seeds = rank([entry for entry in retrained if winner and same_but_seed(entry.record, winner.record)])
    anew = seeds_by_trial(trials, retrained)
    return StudyData(
        config=config,
        home=home,
        directions=directions(study),
        trials=trials,
        ranked=tuple(ranked),
        seeds=tuple(seeds),
        finalists=tuple(standings(home, anew, config.goals)),
        others=len(retrained) - len(seeds),
        champion=chosen if chosen and chosen.champion in {one.run for runs in anew.values() for one in runs} else None,
        axes=axes(study),
        importances=tuple(importances(study, i) for i in range(len(study.directions))),
    )


def best_first(trials: Iterable[Trial], direction: str) -> list[Trial]:
    """Sort the complete trials by their (first) objective, best first."""
    sign = 1.0 if direction == "minimize" else -1.0
    return sorted((trial for trial in trials if trial.complete), key=lambda trial: sign * trial.values[0])


def same_but_seed(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two records have the same configuration, apart from name, seed and budget."""
    first, second = ({k: v for k, v in record["params"].items() if k not in APART} for record in (one, other))
    return first == second


def winner_of(
    trials: Sequence[Trial], directions: Sequence[str], retrained: Sequence[Entry], chosen: Chosen | None
) -> Entry | None:
    """Return the run of the best trial; with several objectives that of the trial that `train-best` took."""
    best = best_first(trials, directions[0])
    champion = next((entry for entry in retrained if chosen and entry.run == chosen.champion), None)
    if len(directions) > 1 and champion is not None:
        best = [one for one in best if one.entry and same_but_seed(one.entry.record, champion.record)]
    return best[0].entry if best else None


def seeds_by_trial(trials: Sequence[Trial], retrained: Sequence[Entry]) -> dict[str, list[Entry]]:
    """The retrained runs of each complete trial that has any."""
    found = {
        trial.run: [one for one in retrained if same_but_seed(one.record, trial.record)]
        for trial in (trial.entry for trial in trials if trial.complete and trial.entry)
    }
    return {run: seeds for run, seeds in found.items() if seeds}
