"""Rank stored results by their declared objective; runs that are not comparable are refused."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dmx.config import Objective
from dmx.errors import UserError
from dmx.outcome import Outcome
from dmx.results.records import read_result
from dmx.tracking.home import RESULT, Home
from dmx.training.result import RunResult


@dataclass(frozen=True)
class Entry:
    """A run's result and the record that contains it."""

    run: str
    result: RunResult
    record: Mapping[str, Any]


def results(home: Home, study: str | None = None, role: str = "trial") -> list[Entry]:
    """Read the results of a study's finished runs, or, without a study, of finished single runs."""
    entries = []
    for run in home.runs_with(RESULT):
        found = read_result(home.run(run))
        if found is None or found[0].outcome is Outcome.INTERRUPTED:
            continue
        tags = found[1]["tags"]
        if tags.get("dmx.study") == study and tags.get("dmx.role") == (role if study else "run"):
            entries.append(Entry(run, *found))
    return entries


def rank(entries: Sequence[Entry]) -> list[Entry]:
    """Sort by the objective, best first, with entries without a value last: a missing value is never 0 and never best.

    Raises:
        UserError: Objective, data, split or metric definitions differ between the runs.
    """
    comparable(entries, ("objective", "data", "split", "size", "definitions"))
    objective = Objective(**entries[0].record["objective"]) if entries else None
    sign = -1.0 if objective and objective.direction == "maximize" else 1.0

    def key(entry: Entry) -> tuple[bool, bool, float]:
        best = entry.result.best
        unfinished = entry.result.outcome not in (Outcome.COMPLETE, Outcome.PRUNED)
        return (best is None, unfinished, sign * best.value if best else 0.0)

    return sorted(entries, key=key)


def redefined(entries: Sequence[Entry]) -> list[str]:
    """Two runs that define a metric differently; none if all agree.

    A metric that only some runs have is no contradiction: it was added later, or belongs to a plug-in of these.
    """
    known: dict[str, tuple[Any, str]] = {}
    for entry in entries:
        for metric, definition in (entry.record.get("definitions") or {}).items():
            before, run = known.setdefault(metric, (definition, entry.run))
            if before != definition:
                return [run, entry.run]
    return []


def comparable(entries: Sequence[Entry], facts: Sequence[str]) -> None:
    """Check that runs agree in these facts of their records.

    Raises:
        UserError: They differ.
    """
    for what in facts:
        if what == "definitions":
            runs = redefined(entries)
        else:
            by_value: dict[str, str] = {}
            for entry in entries:
                by_value.setdefault(json.dumps(entry.record.get(what), sort_keys=True), entry.run)
            runs = [*by_value.values()]
        if len(runs) > 1:
            first, second, *_ = runs
            raise UserError(
                f"{first} and {second} cannot be compared: their {what} differs; "
                f"take runs of the same {', '.join(facts)}."
            )
