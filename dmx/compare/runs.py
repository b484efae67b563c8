"""Comparison of runs: their metrics, which differences are significant, and how their configurations differ."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dmx.compare.difference import Difference, corrected, difference, explained
from dmx.compare.external import (
    entry_of_external,
    is_foreign,
    metrics_of_all,
    with_aligned_samples,
    with_alignments,
)
from dmx.errors import UserError, did_you_mean
from dmx.results.externals import is_external
from dmx.results.ranking import Entry, comparable
from dmx.results.records import read_result
from dmx.results.references import PREFIX, References, references_of_entries, titled
from dmx.sample_table import SampleTable, base
from dmx.stored import intact
from dmx.tracking.home import BEST_SAMPLES, EXTERNAL, NEAR, RESULT, Home

MEASURED = ("data", "split", "size", "definitions")
"""Keys of the identity in which runs must agree to be compared; their objectives may differ."""
OWN = ("name", "seed")
"""The only configuration keys in which the runs of one candidate differ."""


@dataclass(frozen=True)
class Candidate:
    """One configuration: a run, or several that differ only in their seeds; or a reference.

    Attributes:
        name: Its run, or the number of runs.
        runs: The runs; none for a reference.
        samples: Per-sample metrics on validation, of each run; one for a reference.
        values: A reference's metrics by full name.
    """

    name: str
    runs: tuple[Entry, ...]
    samples: tuple[SampleTable, ...]
    values: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def params(self) -> Mapping[str, Any]:
        """Its configuration, flat."""
        return {key: value for run in self.runs[:1] for key, value in run.record["params"].items() if key not in OWN}


@dataclass(frozen=True)
class Comparison:
    """Comparison of candidates with the first of them.

    Attributes:
        candidates: At least two candidates.
        metrics: The compared metrics, by full name without `val/`.
        values: For each metric, the value of each candidate, the mean over its seeds; None if it is undefined.
        differences: For each metric, the other candidates' differences, corrected for multiple comparisons.
        changed: By configuration path, the value of each candidate, where these differ.
        references: The references of the runs' data; None if there are none.
    """

    candidates: tuple[Candidate, ...]
    metrics: tuple[str, ...]
    values: Mapping[str, Sequence[float | None]]
    differences: Mapping[str, Sequence[Difference | None]]
    changed: Mapping[str, Sequence[Any]]
    references: References | None = None

    @property
    def message(self) -> str:
        """What the intervals and verdicts mean."""
        samples = self.candidates[0].samples[0]
        made = [one for each in self.differences.values() for one in each if one is not None]
        seeds = max(len(one.samples) for one in self.candidates)
        said = explained(made, len(set(samples.groups)), len(samples.ids), seeds)
        foreign = any(is_foreign(run) for one in self.candidates for run in one.runs)
        if foreign and not any(metric.startswith("depth_") for metric in self.metrics):
            said += " Depth after alignment can be compared, too, once `dmx evaluate RUN DATA` was called for each run."
        return said


def compare(home: Home, names: Sequence[str], only: Sequence[str] = ()) -> Comparison:
    """Compare runs; those that differ only in their seeds form one candidate.

    Args:
        home: The results folder.
        names: The runs, and references as `reference:mean_map`; one run at least.
        only: The metrics; empty: all. The fewer metrics are compared, the narrower are the intervals.

    Raises:
        UserError: A run is missing or has no value, or the runs are not comparable; the message says why.
    """
    entries = entries_of(home, [name for name in dict.fromkeys(names) if not name.startswith(PREFIX)])
    if not entries:
        raise UserError("references alone are not compared; name a run, too.")
    comparable(entries, MEASURED)
    references = references_of_entries(home, entries)
    candidates = tuple(in_order(names, grouped(home, entries), references, home))
    if len(candidates) < 2:
        raise UserError(
            "the runs are seeds of one configuration, so there is nothing to compare; name a run of another one, too."
        )
    metrics = chosen(known_metrics(candidates), only)
    first, *others = candidates
    each = corrected([apart(first, other, metric) for metric in metrics for other in others])
    differences = {metric: each[i * len(others) :][: len(others)] for i, metric in enumerate(metrics)}
    values = {metric: [mean(candidate, f"val/{metric}") for candidate in candidates] for metric in metrics}
    return Comparison(candidates, metrics, values, differences, changed(candidates), references)


def in_order(
    names: Sequence[str], candidates: Sequence[Candidate], references: References | None, home: Home
) -> Iterator[Candidate]:
    """The candidates and the references that are named, in the order of their names.

    Raises:
        UserError: There is no such reference.
    """
    of_run = {run.run: candidate for candidate in candidates for run in candidate.runs}
    for candidate in dict.fromkeys(names):
        if candidate.startswith(PREFIX):
            yield reference(candidate.removeprefix(PREFIX), references, home)
        elif of_run[candidate].runs[0].run == candidate:
            yield of_run[candidate]


def reference(name: str, references: References | None, home: Home) -> Candidate:
    """A reference as a candidate.

    Raises:
        UserError: There is no such reference.
    """
    if references is None:
        raise UserError(
            f"{home.references} has no references of these runs: they were removed, or the runs are older than "
            "references; the next run on the same data and split makes them."
        )
    if name not in references.values:
        raise UserError(f"no reference '{name}'; {did_you_mean(name, references.values)}")
    path = references.samples(name)
    with intact(path, f"remove {references.folder}; the next run on these data makes it anew."), path.open("rb"):
        table = SampleTable.load(path)
    return Candidate(titled(name), (), (table,), references.values[name])


def apart(first: Candidate, other: Candidate, metric: str) -> Difference | None:
    """The difference of two candidates; None if the metric is undefined, as for a reference of the other task.

    A reference does not depend on a seed: it counts as having as many equal ones as the other candidate has.
    """
    if not all(base(metric) in one.samples[0].sums for one in (first, other)):
        return None
    one = first.samples if first.runs else first.samples * len(other.samples)
    two = other.samples if other.runs else other.samples * len(first.samples)
    return difference(one, two, metric)


def entries_of(home: Home, names: Sequence[str]) -> list[Entry]:
    """The named runs and networks of others; beside the latter, runs also get the metrics of their own `dmx evaluate`.

    Raises:
        UserError: See `entry_of`; or no run is named, whose samples a network of others is compared on.
    """
    foreign = [name for name in names if is_external(home, name)]
    runs = {name: entry_of(home, name) for name in names if name not in foreign}
    if not foreign:
        return [*runs.values()]
    if not runs:
        raise UserError(
            f"{' and '.join(foreign)} are networks of others; name a run beside them, whose validation samples they "
            "are compared on."
        )
    like = next(iter(runs.values()))
    found = {name: with_alignments(home, entry) for name, entry in runs.items()}
    found |= {name: entry_of_external(home, name, like) for name in foreign}
    return [found[name] for name in names]


def known_metrics(candidates: Sequence[Candidate]) -> tuple[str, ...]:
    """The metrics that can be compared: of runs those that all define; with networks of others, that all have."""
    runs = [run for candidate in candidates for run in candidate.runs]
    if not any(is_foreign(run) for run in runs):
        first, *others = (run.record["definitions"] for run in runs)
        return tuple(metric for metric in first if all(metric in other for other in others))
    values = [run.result.best.metrics for run in runs if run.result.best]
    return metrics_of_all(values, [table for one in candidates if one.runs for table in one.samples])


def chosen(known: tuple[str, ...], only: Sequence[str]) -> tuple[str, ...]:
    """The requested metrics.

    Raises:
        UserError: A metric is unknown.
    """
    for name in only:
        if name not in known:
            raise UserError(f"no metric '{name}'; {did_you_mean(name, known)}")
    return tuple(dict.fromkeys(only)) or known


def entry_of(home: Home, name: str) -> Entry:
    """A finished run with an objective value.

    Raises:
        UserError: There is no run of that name, or it has no value.
    """
    folder = home.run(name)
    found = read_result(folder)
    if found is None:
        known = did_you_mean(name, home.runs_with(RESULT, EXTERNAL), NEAR)
        raise UserError(f"no run '{name}' has ended in {home.root}; {known}")
    if found[0].best is None:
        raise UserError(f"run {name} has no value: it is {found[0].outcome} ({found[0].reason}).")
    return Entry(name, *found)


def grouped(home: Home, entries: Sequence[Entry]) -> list[Candidate]:
    """The candidates, in the order in which their first runs are named.

    Raises:
        UserError: Two runs have the same configuration and the same seed, so they are not independent.
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
            tuple(samples_of(home, one) for one in runs),
        )
        for runs in found.values()
    ]


def samples_of(home: Home, entry: Entry) -> SampleTable:
    """Load the metrics of each validation sample of a run or a network of others.

    Raises:
        UserError: The run has no such file.
    """
    if is_foreign(entry):
        return SampleTable.load(entry.record["samples"])
    path = home.run(entry.run) / BEST_SAMPLES
    if not path.is_file():
        raise UserError(
            f"{path} is not there: the run was answered from another one's record, which its reason names, or made "
            "before samples were kept; name another run."
        )
    return with_aligned_samples(home, entry, SampleTable.load(path))


def mean(candidate: Candidate, metric: str) -> float | None:
    """The mean over a candidate's seeds; None if one lacks the metric."""
    if not candidate.runs:
        return candidate.values.get(metric.removeprefix("val/"))
    values = [run.result.best.metrics.get(metric) for run in candidate.runs if run.result.best]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def changed(candidates: Sequence[Candidate]) -> dict[str, list[Any]]:
    """The configuration paths in which candidates differ, with their values; `-` if one lacks the path.

    That a reference or a network of others lacks all paths of a run is no difference.
    """
    paths = dict.fromkeys(path for candidate in candidates for path in candidate.params)
    rows = {path: [candidate.params.get(path, "-") for candidate in candidates] for path in paths}
    runs = [i for i, one in enumerate(candidates) if one.runs and not is_foreign(one.runs[0])]
    return {
        path: row
        for path, row in rows.items()
        if any(row[i] != row[runs[0]] for i in runs) or all(row[i] == "-" for i in runs)
    }
