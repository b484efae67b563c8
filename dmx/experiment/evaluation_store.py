"""Stored evaluations: in the run's folder and its journal, and thereby in MLflow."""

import json
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dmx.errors import UserError, did_you_mean
from dmx.experiment.evaluate import Evaluation
from dmx.experiment.run_record import read_identity
from dmx.metrics.uncertainty import LEFT_OUT, LEVELS, Uncertainty
from dmx.outcome import Outcome
from dmx.results.records import ended
from dmx.results.references import titled
from dmx.sample_table import base
from dmx.stored import read_mapping, replace_bytes, replace_text
from dmx.tracking import RunStart, open_run
from dmx.tracking.home import EVALUATION, EVALUATION_PAGE, EVALUATION_SAMPLES, EVALUATIONS, IDENTITY, Home
from dmx.tracking.panel import png

AGAIN = "remove {} and evaluate {} again."
LISTED = 5
"""The maximum number of networks to name."""
PREFIXES = {"test": "test", "val": "val_best"}
"""Prefixes of a run's metrics for evaluations of parts of its own data."""


def folder_of(home: Home, run: str, where: str) -> Path:
    """The folder of an evaluation."""
    return home.run(run) / EVALUATIONS / where


def keep(found: Evaluation, page: str, home: Home, external: RunStart | None = None) -> tuple[Path, int]:
    """Write an evaluation to the run's folder and log it to the logging backends.

    Args:
        found: The evaluation.
        page: The evaluation as HTML; an empty string writes no page.
        home: The results folder.
        external: The description of the network, if it is not that of a run.

    Returns:
        The folder, and the number of events not yet sent to MLflow and TensorBoard.
    """
    if external is None:
        result = ended(home, found.run)
        outcome, reason, steps = result.outcome, result.reason, result.steps
    else:
        outcome, reason, steps = Outcome.COMPLETE, "", 0
    folder = folder_of(home, found.run, found.where)
    kept = evaluation_json(found) | {"when": first_read(folder / EVALUATION, found)}
    shutil.rmtree(folder, ignore_errors=True)  # an earlier evaluation under this name, perhaps on other data
    folder.mkdir(parents=True)
    found.samples.save(folder / EVALUATION_SAMPLES)
    for metric in found.worst.metrics:
        if (panel := found.worst.panel(metric)) is not None:
            replace_bytes(folder / f"worst_{metric.replace('/', '_')}.png", png(panel))
    if page:
        replace_text(folder / EVALUATION_PAGE, page)
    replace_text(folder / EVALUATION, json.dumps(kept, indent=1))  # last: its presence marks a complete evaluation
    prefix = PREFIXES.get(found.where, f"eval/{found.where}") if found.own else f"eval/{found.where}"
    logged = {**found.values, **(found.uncertainty.values() if found.uncertainty else {})}
    tracker = open_run(home, found.run, external or RunStart(experiment="", name=found.run))
    tracker.log(steps, {f"{prefix}/{name}": v for name, v in logged.items() if v is not None})
    tracker.artifact(folder, EVALUATIONS)
    return folder, tracker.finish(outcome, reason)


def first_read(path: Path, found: Evaluation) -> str:
    """The time at which this network was first evaluated on these samples."""
    before = read_mapping(path, AGAIN.format(path.parent, found.run)) if path.is_file() else {}
    same = all(before.get(key) == found.identity[key] for key in ("data", "ids"))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return str(before.get("when", now)) if same else now


def read_on_test(home: Home, run: str) -> dict[str, str]:
    """The networks that were evaluated on the test samples of this run's data, with the time, earliest first.

    Test samples are the same if data and split are the same. An evaluation of the whole data set includes test.
    """

    def identity(one: str) -> tuple[Any, Any]:
        path = home.run(one) / IDENTITY
        known = read_identity(path) if path.is_file() else {}
        return known.get("data"), known.get("split")

    found: dict[str, str] = {}
    for path in home.runs.glob(f"*/{EVALUATIONS}/*/{EVALUATION}"):
        kept = read_mapping(path, AGAIN.format(path.parent, path.parents[2].name), "own", "part", "run")
        if kept["own"] and kept["part"] in ("test", "all") and identity(kept["run"]) == identity(run):
            network = kept["run"] + kept.get("joined", "")
            found[network] = min(kept.get("when", ""), found.get(network, "~"))
    return dict(sorted(found.items(), key=lambda one: (one[1], one[0])))


def usage_of_test(readings: Mapping[str, str]) -> str:
    """A message on how many networks were evaluated on test, and the selection bias that follows.

    >>> usage_of_test({"a": "2026-05-01T10:00:00+00:00"})
    'Test has been read for this network alone.'
    >>> usage_of_test({"a": "2026-05-01T10:00:00+00:00", "b": "2026-05-02T10:00:00+00:00"})
    'Test has been read for 2 networks: a (2026-05-01), b (2026-05-02). Choosing among them by it biases the result.'
    """
    if len(readings) < 2:
        return "Test has been read for this network alone."
    named = [f"{run} ({when[:10] or 'date unknown'})" for run, when in [*readings.items()][:LISTED]]
    more = f" and {len(readings) - LISTED} more" if len(readings) > LISTED else ""
    return (
        f"Test has been read for {len(readings)} networks: {', '.join(named)}{more}. "
        "Choosing among them by it biases the result."
    )


def evaluation_json(found: Evaluation) -> dict[str, Any]:
    """All numbers, ready for JSON."""
    spread = found.probabilities
    return {
        "run": found.run,
        "joined": found.joined,
        "data_name": found.data,
        "part": found.part,
        "own": found.own,
        "execution": dict(found.execution),
        **found.identity,
        "values": found.values,
        "uncertainty": found.uncertainty and uncertainty_json(found.uncertainty),
        "references": found.references,
        "threshold": threshold(found),
        "by_depth": [*found.strata.by_depth()],
        "by_size": [*found.strata.by_size()],
        "curve": {
            "threshold": spread.thresholds.tolist(),
            **{name: [finite(x) for x in getattr(spread, name).tolist()] for name in ("precision", "recall", "iou")},
        },
        "calibration": [[finite(x) for x in row] for row in spread.calibration.tolist()],
        "worst": {
            metric: [{"id": sight.id, "value": sight.value} for sight in sights]
            for metric, sights in found.worst.found.items()
        },
    }


def uncertainty_json(found: Uncertainty) -> dict[str, Any]:
    """What the predicted standard deviations are worth, with the curves behind the numbers."""
    curves = {task: found.curve(task) for task in found.curves}
    return {
        **found.values(),
        "left_out": LEFT_OUT.tolist(),
        "rmse_of_the_rest": {
            task: {"by_spread": pair[0].tolist(), "by_error": pair[1].tolist()}
            for task, pair in curves.items()
            if pair is not None
        },
        "intervals": {"probability": LEVELS.tolist(), "share": found.coverage.tolist()},
    }


Cells = list[tuple[str, *tuple[float | None, ...]]]


def mask_table(found: Evaluation) -> tuple[tuple[str, ...], Cells]:
    """Header and rows of the mask's metrics, and of those of both tasks."""
    names = dict.fromkeys(base(name) for name in found.values if name.startswith(("mask/", "joint/")))
    rows: Cells = [(n, found.values.get(f"{n}_pooled"), found.values.get(f"{n}_per_image")) for n in names]
    return ("metric", "pooled", "per image"), rows


def depth_table(found: Evaluation) -> tuple[tuple[str, ...], Cells]:
    """Header and rows of the depth's metrics, with a column for each alignment."""
    tasks = list(dict.fromkeys(name.partition("/")[0] for name in found.values if name.startswith("depth")))
    names = dict.fromkeys(base(name).partition("/")[2] for name in found.values if name.startswith("depth"))
    columns = [(task, form) for task in tasks for form in ("pooled", "per_image")]
    head = [f"{task.removeprefix('depth').strip('_')} {form}".replace("_", " ").strip() for task, form in columns]
    rows: Cells = [
        (f"depth/{name}", *(found.values.get(f"{task}/{name}_{form}") for task, form in columns)) for name in names
    ]
    return ("metric", *head), rows


IN_SHORT = ("mask/iou", "mask/brier", "mask/skill", "depth/rmse", "depth/mae", "depth/delta1", "depth/skill")
"""The metrics by which a run is shown beside the references."""


def reference_table(found: Evaluation) -> tuple[tuple[str, ...], Cells]:
    """Header and rows of the run and of the references on the same samples, pooled; no rows without references."""
    names = [name for name in IN_SHORT if f"{name}_pooled" in found.values]
    each = {found.run: found.values, **{titled(name): values for name, values in found.references.items()}}
    rows: Cells = [(who, *(values.get(f"{name}_pooled") for name in names)) for who, values in each.items()]
    return ("pooled", *names), rows if found.references else []


def threshold(found: Evaluation) -> dict[str, Any]:
    """The best threshold on validation, and the IoU at it on these samples."""
    if found.threshold is None:
        return {"best_on_validation": None, "why_none": found.why_none or "validation has no object"}
    here = found.probabilities.iou_at(found.threshold)
    return {"best_on_validation": found.threshold, "mask/iou_pooled": finite(here)}


def finite(x: float) -> float | None:
    """The number; None if it is NaN, which JSON does not support."""
    return None if x != x else x


def load_evaluation(home: Home, run: str, where: str) -> dict[str, Any]:
    """Load a stored evaluation.

    Raises:
        UserError: There is none with that name, or it is damaged.
    """
    path = folder_of(home, run, where) / EVALUATION
    if not path.is_file():
        known = [one.parent.name for one in (home.run(run) / EVALUATIONS).glob(f"*/{EVALUATION}")]
        raise UserError(
            f"run {run} has no evaluation '{where}'; {did_you_mean(where, known)}. `dmx evaluate {run} DATA` makes one."
        )
    return read_mapping(path, AGAIN.format(path.parent, run))
