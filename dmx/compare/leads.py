"""The difference of each run of a leaderboard from the first, with its statistical significance."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from dmx.compare.difference import Difference, corrected, difference, explained
from dmx.errors import UserError
from dmx.results.ranking import Entry
from dmx.sample_table import SampleTable, base
from dmx.tracking.home import BEST_SAMPLES, Home

CHOSEN = "The first was chosen as the best of many, so it is lucky, too: trained anew it will on average do worse."
"""What is true of the best of any search."""


@dataclass(frozen=True)
class Leads:
    """Differences from the first run.

    Attributes:
        by_run: The difference of each run; runs without samples to compare are left out.
        message: What the intervals and verdicts mean.
    """

    by_run: dict[str, Difference]
    message: str


def leads(home: Home, entries: Sequence[Entry]) -> Leads:
    """Compare the runs with the first of them by their objective, corrected for multiple comparisons."""
    if not entries:
        return Leads({}, "")
    metric = entries[0].record["objective"]["metric"]
    made = differences(home, entries[:1], {entry.run: [entry] for entry in entries[1:]}, [metric])
    by_run = {run: found[0] for run, found in made.items() if found}
    if not by_run:
        return Leads({}, "")
    (first,) = samples_of(home, entries[:1], metric)
    message = f"{explained([*by_run.values()], len(set(first.groups)), len(first.ids), seeds=1)} {CHOSEN}"
    return Leads(by_run, message)


def differences(
    home: Home, first: Sequence[Entry], others: Mapping[str, Sequence[Entry]], metrics: Sequence[str]
) -> dict[str, list[Difference]]:
    """The differences of candidates from the first one, corrected for multiple comparisons.

    Args:
        home: The results folder.
        first: The runs of the first candidate, one for each seed.
        others: Those of the others, by name.
        metrics: Validation metrics by full name.

    Returns:
        The differences of each of the others, without those for which samples are missing, or are others.
    """
    made: list[tuple[str, Difference]] = []
    unknown = (FileNotFoundError, ValueError, KeyError, UserError)  # no samples, old ones, or different ones
    for metric in metrics:
        with suppress(*unknown):
            ones = samples_of(home, first, metric)
            for name, seeds in others.items():
                with suppress(*unknown):
                    found = difference(ones, samples_of(home, seeds, metric), metric.removeprefix("val/"))
                    made += [] if found is None else [(name, found)]
    by_name: dict[str, list[Difference]] = {name: [] for name in others}
    for (name, _), one in zip(made, corrected([found for _, found in made]), strict=True):
        by_name[name] += [] if one is None else [one]
    return by_name


def samples_of(home: Home, seeds: Sequence[Entry], metric: str) -> list[SampleTable]:
    """The validation samples of each run at its best epoch, with one metric."""
    only = [base(metric.removeprefix("val/"))]
    return [SampleTable.load(home.run(entry.run) / BEST_SAMPLES, only=only) for entry in seeds]
