"""Runs side by side: their metrics, which differences are more than chance, and in what their configurations differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmx.compare.difference import Difference, corrected, difference, explained
from dmx.errors import UserError, did_you_mean
from dmx.results.ranking import Entry, comparable
from dmx.results.records import read_result
from dmx.sample_table import SampleTable
from dmx.tracking.home import BEST_SAMPLES, RESULT, Home

MEASURED = ("data", "split", "size", "definitions")
"""In what runs must agree to be compared; their objectives may differ."""
OWN = ("name", "seed")
"""In what the runs of one candidate differ."""


@dataclass(frozen=True)
class Candidate:
    """One configuration: a run, or several that differ in their seeds alone.

    Attributes:
        name: Its run, or how many there are.
        runs: The runs.
        samples: Per-sample metrics on validation, of each run.
    """

    name: str
    runs: tuple[Entry, ...]
    samples: tuple[SampleTable, ...]

    @property
    def params(self) -> Mapping[str, Any]:
        """Its configuration, flat."""
        return {key: value for key, value in self.runs[0].record["params"].items() if key not in OWN}


@dataclass(frozen=True)
class Comparison:
    """Candidates against the first of them.

    Attributes:
        candidates: At least two.
        metrics: What is compared, by full name without `val/`.
        values: For each metric, the value of each candidate, the mean over its seeds; None where it is undefined.
        differences: For each metric, those of all but the first candidate, corrected for how many they are.
        changed: In what configurations differ: each candidate's value by place.
    """

    candidates: tuple[Candidate, ...]
    metrics: tuple[str, ...]
    values: Mapping[str, Sequence[float | None]]
    differences: Mapping[str, Sequence[Difference | None]]
    changed: Mapping[str, Sequence[Any]]

    @property
    def message(self) -> str:
        """What the intervals and verdicts mean."""
        samples = self.candidates[0].samples[0]
        made = [one for each in self.differences.values() for one in each if one is not None]
        seeds = max(len(one.runs) for one in self.candidates)
        return explained(made, len(set(samples.groups)), len(samples.ids), seeds)


def compare(home: Home, names: Sequence[str], only: Sequence[str] = ()) -> Comparison:
    """Compare runs; those that differ in their seeds alone are one candidate.

    Args:
        home: Where results are.
        names: The runs.
        only: The metrics; without any, all. The fewer are looked at, the narrower the intervals.

    Raises:
        UserError: A run is not there or has no value, or they cannot be compared; the message says why.
    """
    entries = [entry_of(home, name) for name in dict.fromkeys(names)]
    comparable(entries, MEASURED)
    candidates = tuple(grouped(home, entries))
    if len(candidates) < 2:
        raise UserError(
            "the runs are seeds of one configuration, so there is nothing to compare; name a run of another one, too."
        )
    metrics = chosen(tuple(entries[0].record["definitions"]), only)
    first, *others = candidates
    each = corrected([difference(first.samples, other.samples, metric) for metric in metrics for other in others])
    differences = {metric: each[i * len(others) :][: len(others)] for i, metric in enumerate(metrics)}
    values = {metric: [mean(candidate, f"val/{metric}") for candidate in candidates] for metric in metrics}
    return Comparison(candidates, metrics, values, differences, changed(candidates))


def chosen(known: tuple[str, ...], only: Sequence[str]) -> tuple[str, ...]:
    """The metrics that are asked for.

    Raises:
        UserError: One is not there.
    """
    for name in only:
        if name not in known:
            raise UserError(f"no metric '{name}'; {did_you_mean(name, known)}")
    return tuple(dict.fromkeys(only)) or known


def entry_of(home: Home, name: str) -> Entry:
    """A run that has ended with a value.

    Raises:
        UserError: There is none of that name, or it has no value.
    """
    folder = home.run(name)
    found = read_result(folder)
    if found is None:
        known = did_you_mean(name, home.runs_with(RESULT))
        raise UserError(f"no run '{name}' has ended in {home.root}; {known}")
    if found[0].best is None:
        raise UserError(f"run {name} has no value: it is {found[0].outcome} ({found[0].reason}).")
    return Entry(name, *found)


def grouped(home: Home, entries: Sequence[Entry]) -> list[Candidate]:
    """The candidates, in the order in which their first runs are named.

    Raises:
        UserError: Two runs have the same configuration and the same seed, which say no more than one of them.
    """
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        params = {key: value for key, value in entry.record["params"].items() if key not in OWN}
        runs = found.setdefault(repr(sorted(params.items(), key=str)), [])
        seed = entry.record["params"].get("seed")
        if twin := next((one.run for one in runs if one.record["params"].get("seed") == seed), None):
            raise UserError(
                f"{twin} and {entry.run} have the same configuration and seed ({seed}), so the second is no second "
                "look at it: name one of them."
            )
        runs.append(entry)
    return [
        Candidate(
            runs[0].run if len(runs) == 1 else f"{runs[0].run} ({len(runs)} seeds)",
            tuple(runs),
            tuple(samples_of(home.run(one.run)) for one in runs),
        )
        for runs in found.values()
    ]


def samples_of(folder: Path) -> SampleTable:
    """What each validation sample of a run came to.

    Raises:
        UserError: It is not on record.
    """
    path = folder / BEST_SAMPLES
    if not path.is_file():
        raise UserError(
            f"{path} is not there: the run was answered from another one's record, which its reason names, or made "
            "before samples were kept; name another run."
        )
    return SampleTable.load(path)


def mean(candidate: Candidate, metric: str) -> float | None:
    """The mean over a candidate's seeds; None where one lacks it."""
    values = [run.result.best.metrics.get(metric) for run in candidate.runs if run.result.best]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def changed(candidates: Sequence[Candidate]) -> dict[str, list[Any]]:
    """The places in which configurations differ; `-` where one has no such place."""
    paths = dict.fromkeys(path for candidate in candidates for path in candidate.params)
    rows = {path: [candidate.params.get(path, "-") for candidate in candidates] for path in paths}
    return {path: row for path, row in rows.items() if any(value != row[0] for value in row)}
