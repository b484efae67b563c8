"""What the record of a run says that a stranger to its network has to know."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dmx.compare.interval import interval
from dmx.config import ExperimentConfig
from dmx.data.declaration import Declaration
from dmx.deliver.origin import began, declared
from dmx.errors import UserError
from dmx.experiment.evaluate import own_split
from dmx.experiment.evaluation_store import folder_of, load_evaluation, read_on_test, usage_of_test
from dmx.experiment.trained import Trained
from dmx.results.records import ended, read_result
from dmx.results.references import NOT_JUDGED, references_of, strongest, titled
from dmx.sample_table import FORMS, SampleTable, base
from dmx.stored import read_mapping
from dmx.tracking.home import (
    BEST_SAMPLES,
    ENVIRONMENT,
    EVALUATION_SAMPLES,
    JOURNAL,
    Home,
)
from dmx.tracking.journal import Started, started
from dmx.training.result import BestEpoch, RunResult
from dmx.written import place

SHOWN = ("depth/rmse", "depth/mae", "depth/abs_rel", "depth/delta1", "depth/skill", "mask/iou", "mask/mae")
"""The metrics of a card, if they have a value; the one by which the best epoch was chosen stands before them."""
BY_BACKGROUND = titled("background_difference")
NEEDS = " (needs the background picture)"
"""Follows the name of a reference that sees the background, in the card of a network that does not."""
AGAIN = "bring it back from a copy."


@dataclass(frozen=True)
class Measured:
    """Metrics on one part of the run's own data.

    Attributes:
        part: `validation` or `test`.
        samples: The number of samples.
        groups: The number of groups that they are of.
        values: By the metric's full name.
        intervals: The ends of the metrics' 95 % intervals; None where there is none.
        references: The metrics of the references on the same samples, by the name under which they are shown.
        higher_is_better: By the metric's full name.
    """

    part: str
    samples: int
    groups: int
    values: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float] | None]
    references: Mapping[str, Mapping[str, float | None]]
    higher_is_better: Mapping[str, bool]

    @property
    def not_better(self) -> dict[str, str]:
        """The metrics in which the run is no better than a reference that sees no more than it, with the strongest."""
        found = {}
        references = {who: each for who, each in self.references.items() if not who.endswith(NEEDS)}
        for metric, value in self.values.items():
            higher = self.higher_is_better[metric]
            best = strongest(references, metric, higher_is_better=higher)
            if best and base(metric) not in NOT_JUDGED and not (value > best[1] if higher else value < best[1]):
                found[metric] = best[0]
        return found


@dataclass(frozen=True)
class Story:
    """What is known of a run.

    Attributes:
        run: The run.
        config: Its configuration.
        result: Its outcome and best epoch.
        best: The epoch whose weights are handed over.
        facts: Of its record: fingerprint, parameters and so on.
        data: The name of its data set.
        declared: What the data set says of itself; None if it is not there any more, or is another one now.
        counts: The number of samples in each part.
        began: What its weights began with, in words.
        measured: Its metrics, on validation and, where that was read, on test.
        readings: A sentence on the networks that were evaluated on test.
        commit: Of the code; empty if it is not known.
        environment: The versions and the machine.
    """

    run: str
    config: ExperimentConfig
    result: RunResult
    best: BestEpoch
    facts: Mapping[str, Any]
    data: str
    declared: Declaration | None
    counts: Mapping[str, int]
    began: str
    measured: tuple[Measured, ...]
    readings: str
    commit: str
    environment: Mapping[str, Any]


def story_of(home: Home, network: Trained) -> Story:
    """Gather what the record of a run says.

    Raises:
        UserError: The run has not ended, has no best epoch, or its record is damaged.
    """
    run, folder = network.run, home.run(network.run)
    result = ended(home, run)
    record = (read_result(folder) or (result, {}))[1]
    if result.best is None:
        raise UserError(f"run {run} has no best epoch ({result.outcome}: {result.reason}); name another run.")
    start = started(folder / JOURNAL)
    parts = own_split(home, run)
    tested = read_on_test(home, run)
    measured = (on_validation(home, record, result.best, folder), *on_test(home, run, record))
    if not network.model.net.needs_background:
        measured = tuple(map(without_background, measured))
    return Story(
        run=run,
        config=network.config,
        result=result,
        best=result.best,
        facts=record,
        data=data_name(start, network.config),
        declared=declared(home, network.run, network.config.data.root),
        counts={"training": len(parts.train), "validation": len(parts.val), "test": len(parts.test)},
        began=began(home, network),
        measured=measured,
        readings=usage_of_test(tested) if run in tested else "Test has not been read for this network.",
        commit=start.tags.get("mlflow.source.git.commit", "") if start else "",
        environment=read_mapping(folder / ENVIRONMENT, AGAIN) if (folder / ENVIRONMENT).is_file() else {},
    )


def without_background(measured: Measured) -> Measured:
    """The metrics of a network that sees the image alone: references that see more are said to."""
    named = {f"{who}{NEEDS}" if who == BY_BACKGROUND else who: each for who, each in measured.references.items()}
    return replace(measured, references=named)


def on_validation(home: Home, record: Mapping[str, Any], best: BestEpoch, folder: Path) -> Measured:
    """The metrics on validation, at the best epoch."""
    known = references_of(home, [record])
    values = {name.removeprefix("val/"): value for name, value in best.metrics.items()}
    return measured_on("validation", values, folder / BEST_SAMPLES, known.values if known else {}, record)


def on_test(home: Home, run: str, record: Mapping[str, Any]) -> Iterator[Measured]:
    """The metrics on test, if it was read."""
    if not folder_of(home, run, "test").is_dir():
        return
    found = load_evaluation(home, run, "test")
    if found.get("own") and found.get("data") == record["data"]:
        samples = folder_of(home, run, "test") / EVALUATION_SAMPLES
        yield measured_on("test", found["values"], samples, found["references"], record)


def measured_on(
    part: str,
    values: Mapping[str, float | None],
    samples: Path,
    references: Mapping[str, Mapping[str, float | None]],
    record: Mapping[str, Any],
) -> Measured:
    """The metrics of a card on one part, in their order."""
    table = SampleTable.load(samples)
    wanted = [record["objective"]["metric"].removeprefix("val/"), *(f"{name}{FORMS[0]}" for name in SHOWN)]
    shown = {name: value for name in dict.fromkeys(wanted) if (value := values.get(name)) is not None}
    return Measured(
        part=part,
        samples=len(table.ids),
        groups=len(set(table.groups)),
        values=shown,
        intervals={name: interval(table, name) for name in shown},
        references={titled(name): {one: each.get(one) for one in shown} for name, each in references.items()},
        higher_is_better={name: table.meanings[base(name)].higher_is_better for name in shown},
    )


def data_name(start: Started | None, config: ExperimentConfig) -> str:
    """The name of the run's data set; for runs without a journal that of its folder."""
    named = next((one["name"] for one in start.inputs), None) if start else None
    return place(config.data.root).name if named is None else named.rpartition(" ")[0]
