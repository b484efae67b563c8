"""The columns of a leaderboard: the same in the terminal (`dmx.cli.table`) and in the report (`dmx.report.summary`)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dmx.compare.leads import Leads
from dmx.results.externals import externals
from dmx.results.ranking import Entry
from dmx.results.references import references_of_entries, titled
from dmx.tracking.home import Home

METRICS = ("val/mask/iou_pooled", "val/depth/rmse_pooled", "val/depth/delta1_pooled")
"""Metrics that are shown after those that the runs are ranked by."""
Value = str | float | None
Kind = Literal["rank", "name", "text", "metric", "parameters", "seconds"]


@dataclass(frozen=True)
class Extra:
    """A row beneath the ranked runs: what is not ranked, but was evaluated on the same samples.

    Attributes:
        name: Its name.
        what: What it is, in place of an outcome.
        values: Metrics by full name, `val/...`; None where there is no value.
    """

    name: str
    what: str
    values: Mapping[str, float | None]

    @property
    def row(self) -> dict[str, Value]:
        """Everything, flat."""
        return {"place": None, "run": self.name, "outcome": self.what, **self.values}


@dataclass(frozen=True)
class Column:
    """A column of a leaderboard.

    Attributes:
        name: Its header.
        kind: How its values are formatted: names and texts verbatim, all others as numbers.
        value: Returns its value for a rank, counted from 1, and an entry; None if there is none.
        key: Its key in `Extra.row`; empty if rows beneath the ranked runs have no value here.
    """

    name: str
    kind: Kind
    value: Callable[[int, Entry], Value]
    key: str = ""

    def extra(self, row: Extra) -> Value:
        """The value of a row beneath the ranked runs, which has neither rank nor costs; None if there is none."""
        return row.row.get(self.key) if self.key else ""


def extras(home: Home, entries: Sequence[Entry]) -> list[Extra]:
    """The rows beneath these ranked runs: references, and networks of others evaluated on the same samples."""
    if not entries:
        return []
    references = references_of_entries(home, entries)
    known = references.values if references is not None else {}
    trivial = [Extra(titled(name), "reference", validation(values)) for name, values in known.items()]
    found = externals(home, entries[0].record)
    return [*trivial, *(Extra(one.name, "external", validation(one.values)) for one in found)]


def validation(values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Metrics by their full names as runs have them, with `val/`."""
    return {f"val/{name}": value for name, value in values.items()}


def columns(entries: Sequence[Entry], first: Sequence[str], leads: Leads) -> list[Column]:
    """The columns for these entries.

    Args:
        entries: Ranked runs.
        first: The metrics and costs that they are ranked by; only the metrics are moved to the front.
        leads: The differences from the first run.
    """
    best = [entry.result.best.metrics for entry in entries if entry.result.best]
    metrics = [name for name in dict.fromkeys((*first, *METRICS)) if any(name in values for values in best)]
    shown = [_metric(name) for name in metrics]
    if leads.by_run:
        shown.insert(1, Column("to 1st", "name", lambda rank, entry: _verdict(rank, entry, leads)))
    return [
        Column("#", "rank", lambda rank, entry: rank if entry.result.best else None),
        Column("run", "name", lambda _, entry: entry.run, "run"),
        Column("outcome", "name", lambda _, entry: str(entry.result.outcome), "outcome"),
        *shown,
        Column("model", "text", lambda _, entry: str(entry.record["params"]["model"])),
        Column("losses", "text", lambda _, entry: _losses(entry)),
        Column("weighting", "text", lambda _, entry: entry.record["params"].get("weighting")),
        Column("optimizer", "text", lambda _, entry: _optimizer(entry)),
        Column("parameters", "parameters", lambda _, entry: entry.record["parameters"]),
        Column("time", "seconds", lambda _, entry: entry.result.seconds),
    ]


def _metric(name: str) -> Column:
    def value(rank: int, entry: Entry) -> Value:
        return entry.result.best.metrics.get(name) if entry.result.best else None

    return Column(name.removeprefix("val/").removesuffix("_pooled"), "metric", value, name)


def _verdict(rank: int, entry: Entry, leads: Leads) -> Value:
    found = leads.by_run.get(entry.run)
    return found.verdict if found else "" if rank == 1 else None


def _losses(entry: Entry) -> str:
    params = entry.record["params"]
    return f"{params['loss.mask']}, {params['loss.depth']}"


def _optimizer(entry: Entry) -> str:
    params = entry.record["params"]
    return f"{params['optimizer']} {params['optimizer.lr']:.4g}" if "optimizer.lr" in params else params["optimizer"]
