"""Comparison by stored evaluations: of networks of others, and of runs after alignment of depth."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dmx.errors import UserError
from dmx.outcome import Outcome
from dmx.results.externals import evaluated
from dmx.results.ranking import Entry
from dmx.sample_table import SampleTable, base
from dmx.stored import read_mapping
from dmx.tracking.home import EVALUATION, EVALUATION_SAMPLES, EVALUATIONS, Home
from dmx.training.result import BestEpoch, RunResult

ROLE = "external"
OF_RUN = ("data", "split", "size", "definitions", "objective")


def entry_of_external(home: Home, name: str, like: Entry) -> Entry:
    """A network of others on the validation samples of a run, as if it were a run.

    Raises:
        UserError: It was not evaluated on these.
    """
    found = next(evaluated(home, name, like.record), None)
    if found is None:
        raise UserError(
            f"{name} was not evaluated on the validation samples of {like.run}, at its size and by the same "
            f"definitions; `dmx evaluate FILE DATA --like {like.run}` does."
        )
    metrics = {f"val/{metric}": value for metric, value in found.values.items()}
    best = BestEpoch(epoch=0, step=0, value=float("nan"), metrics=metrics)
    record = {key: like.record[key] for key in OF_RUN}
    params = {f"{ROLE}.{key}": value for key, value in found.facts.items()}
    kept = {**record, "params": params, "tags": {"dmx.role": ROLE}, "samples": found.samples}
    return Entry(name, RunResult(Outcome.COMPLETE, "", best, epochs=0, steps=0, seconds=0.0), kept)


def is_foreign(entry: Entry) -> bool:
    """Whether an entry is that of a network of others."""
    return bool(entry.record["tags"].get("dmx.role") == ROLE)


def stored_evaluation(home: Home, entry: Entry) -> tuple[Mapping[str, float | None], SampleTable] | None:
    """A run's own evaluation on its validation samples, if `dmx evaluate` made one: values and samples."""
    folder = home.run(entry.run) / EVALUATIONS / "val"
    path = folder / EVALUATION
    if not path.is_file():
        return None
    kept = read_mapping(path, f"remove {folder} and evaluate {entry.run} again.", "data", "size", "values")
    if any(kept[key] != entry.record[key] for key in ("data", "size")):
        return None
    return kept["values"], SampleTable.load(folder / EVALUATION_SAMPLES)


def with_alignments(home: Home, entry: Entry) -> Entry:
    """Add to a run's metrics those that only `dmx evaluate` gives, such as those after alignment, if it was."""
    found = stored_evaluation(home, entry)
    best = entry.result.best
    if found is None or best is None:
        return entry
    metrics = {f"val/{name}": value for name, value in found[0].items()} | dict(best.metrics)
    return replace(entry, result=replace(entry.result, best=replace(best, metrics=metrics)))


def with_aligned_samples(home: Home, entry: Entry, table: SampleTable) -> SampleTable:
    """Add to a run's samples the metrics that only `dmx evaluate` gives, if they are of the same samples."""
    found = stored_evaluation(home, entry)
    if found is None or list(found[1].ids) != list(table.ids):
        return table
    more = found[1]
    return replace(table, sums={**more.sums, **table.sums}, meanings={**more.meanings, **table.meanings})


def metrics_of_all(values: Sequence[Mapping[str, Any]], tables: Sequence[SampleTable]) -> tuple[str, ...]:
    """The metrics that have a value for all candidates, overall and sample by sample.

    Raises:
        UserError: There are none.
    """
    first, *others = values
    names = [name.removeprefix("val/") for name, value in first.items() if value is not None]
    found = tuple(
        name
        for name in names
        if all(other.get(f"val/{name}") is not None for other in others)
        and all(base(name) in table.meanings for table in tables)
    )
    if not found:
        raise UserError(
            "they have no metric in common: depth without a unit has values after alignment alone, which "
            "`dmx evaluate RUN DATA` gives a run."
        )
    return found
