"""One execution of an experiment: from what was prepared to a result in the run's folder and in the stores."""

import json
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from dmx.config import ExperimentConfig
from dmx.config.flat import flatten
from dmx.errors import DataError
from dmx.experiment.prepare import Checked, Prepared
from dmx.outcome import Outcome
from dmx.tracking import RunStart, RunTracker, open_run
from dmx.tracking.environment import facts, git_state
from dmx.tracking.files import replace_text
from dmx.tracking.home import Home
from dmx.training.gradients import shared_parameters
from dmx.training.groups import make_optimizer
from dmx.training.joint_loss import JointLoss
from dmx.training.progress import Progress
from dmx.training.result import RunResult
from dmx.training.schedules import Timeline
from dmx.training.seeding import seed_everything
from dmx.training.step import Learner
from dmx.training.trainer import BEST_WEIGHTS, Trainer
from dmx.weighting.kinds import GradientWeighting

Report = Callable[[int, Mapping[str, float | None]], str]

RESULT = "result.json"
IDENTITY = "identity.json"
UNFINISHED = (Outcome.INTERRUPTED, Outcome.CRASHED, Outcome.OUT_OF_MEMORY)
"""Outcomes after which the same command goes on from the checkpoint; every other is the end."""


def run_id_of(config: ExperimentConfig) -> str:
    """The name of the run of a configuration: the same for an equal one, so that the same command goes on."""
    return f"{config.name}-{config.fingerprint[:8]}"


def run(
    prepared: Prepared,
    home: Home,
    run_id: str,
    *,
    experiment: str,
    tags: Mapping[str, str],
    progress: Progress,
    report: Report = lambda epoch, metrics: "",
    seconds: float | None = None,
    stores: bool = True,
) -> tuple[RunResult, int]:
    """Train, from the checkpoint where there is one.

    Args:
        prepared: What to train.
        home: Where results go.
        run_id: The run's folder and name.
        experiment: The MLflow experiment.
        tags: What to find the run by.
        progress: Who watches.
        report: Told the metrics after each epoch; gives why the run should be pruned, if it should.
        seconds: How long it may train, over every start.
        stores: Whether MLflow and TensorBoard are fed, beside the journal.

    Returns:
        The result, and how many events the stores still lack.
    """
    folder = home.run(run_id)
    check_identity(folder / IDENTITY, prepared, f"run {run_id}")
    learner = learner_of(prepared)  # before anything is written: a user's mistake may show only here
    tracker = open_run(home, run_id, _start(prepared, run_id, experiment, tags), stores=stores)
    try:
        result = _trainer(prepared, folder, report, seconds, progress).fit(learner, prepared.loaders, tracker)
    except KeyboardInterrupt:
        tracker.finish(Outcome.INTERRUPTED, "SIGINT")
        raise
    except Exception as error:
        replace_text(folder / "crash.txt", traceback.format_exc())
        tracker.artifact(folder / "crash.txt")
        _close(prepared, folder, tags, crashed(error), tracker)
        raise
    return result, _close(prepared, folder, tags, result, tracker)


def run_known(
    prepared: Prepared, home: Home, run_id: str, *, experiment: str, tags: Mapping[str, str], result: RunResult
) -> int:
    """A run whose result is known without training: it stands in all records like any other.

    Returns:
        How many events the stores still lack.
    """
    tracker = open_run(home, run_id, _start(prepared, run_id, experiment, tags))
    return _close(prepared, home.run(run_id), tags, result, tracker)


def identity_of(prepared: Checked) -> dict[str, Any]:
    """What must be equal where values are compared: data, split, size of validation and meaning of the metrics."""
    return {
        "data": prepared.data_fingerprint,
        "split": prepared.split.fingerprint,
        "size": list(prepared.config.stages[-1].height_width),
        "definitions": prepared.definitions,
    }


def check_identity(path: Path, prepared: Checked, who: str) -> None:
    """Make sure that what goes on, goes on with the data that it began with.

    Raises:
        DataError: Data, split, size or metrics are others than those noted at `path`.
    """
    if path.is_file():
        check_equal(json.loads(path.read_text()), identity_of(prepared), who, prepared.index.root)


def check_equal(before: Mapping[str, Any], now: Mapping[str, Any], who: str, root: Path) -> None:
    """Make sure that two identities are equal.

    Raises:
        DataError: They are not.
    """
    changed = [key for key in now if before.get(key) != now[key]]
    if changed:
        raise DataError(
            f"{who} began with another {' and '.join(changed)} than {root} gives now; what it learned "
            "and what it is measured on would mix. Bring the data back, or take another `name`."
        )


def crashed(error: Exception) -> RunResult:
    """The result of a run that ended in `error`, with the first line of its text as the reason."""
    reason = f"{type(error).__name__}: {error}".partition("\n")[0][:500]
    return RunResult(Outcome.CRASHED, reason, None, 0, 0, 0.0)


def _close(prepared: Prepared, folder: Path, tags: Mapping[str, str], result: RunResult, tracker: RunTracker) -> int:
    """Keep the result and the best weights; the number of events that the stores still lack."""
    if result.best is not None and result.outcome is not Outcome.INTERRUPTED:
        known = {name: value for name, value in result.best.metrics.items() if value is not None}
        best = {name.replace("val/", "val_best/", 1): value for name, value in known.items()}
        tracker.log(result.steps, {**best, "val_best/epoch": result.best.epoch})
        if result.outcome is Outcome.COMPLETE and (folder / BEST_WEIGHTS).exists():
            tracker.artifact(folder / BEST_WEIGHTS)
    unsent = tracker.finish(result.outcome, result.reason)
    config = prepared.config
    record = {
        "run": folder.name,
        "tags": dict(tags),
        "fingerprint": config.fingerprint,
        "objective": config.objective.model_dump(),
        "params": flatten(config),
        **sizes(prepared),
        **identity_of(prepared),
        **result.to_dict(),
    }
    replace_text(folder / RESULT, json.dumps(record, indent=1))  # last: where it stands, all else stands too
    return unsent


def read_result(folder: Path) -> tuple[RunResult, dict[str, Any]] | None:
    """The stored result of a run and the record it stands in; None while there is none."""
    path = folder / RESULT
    if not path.exists():
        return None
    record: dict[str, Any] = json.loads(path.read_text())
    own = ("outcome", "reason", "best", "epochs", "steps", "seconds")
    return RunResult.from_dict({key: record[key] for key in own}), record


def _start(prepared: Prepared, run_id: str, experiment: str, tags: Mapping[str, str]) -> RunStart:
    """All that must be on record before step 0."""
    config = prepared.config
    commit, diff = git_state(Path.cwd())
    environment = {**facts(), "execution": prepared.execution.facts()}
    identity = {
        "dmx.fingerprint": config.fingerprint,
        "dmx.data": prepared.data_fingerprint[:16],
        "dmx.split": prepared.split.fingerprint[:16],
        **({"mlflow.source.git.commit": commit} if commit else {}),
    }
    return RunStart(
        experiment=experiment,
        name=run_id,
        tags={**identity, **tags},
        params={**flatten(config), **sizes(prepared), **prepared.execution.facts()},
        files={
            IDENTITY: json.dumps(identity_of(prepared), indent=1),
            "config.yaml": yaml.safe_dump(config.dump(), sort_keys=False),
            "split.json": prepared.split.to_json(),
            "environment.json": json.dumps(environment, indent=1),
            "metrics.json": json.dumps(prepared.definitions, indent=1),
            **({"git.diff": diff} if diff else {}),
        },
    )


def sizes(prepared: Prepared) -> dict[str, int]:
    """How large the network is."""
    return {"parameters": prepared.parameters, "multiply_adds": prepared.multiply_adds}


def learner_of(prepared: Prepared) -> Learner:
    """Model, loss, optimizer and schedule of the configuration, on the device."""
    config, execution = prepared.config, prepared.execution
    model = prepared.model.to(execution.device, memory_format=execution.memory_format)  # type: ignore[call-overload]
    seed_everything(config.seed)
    mask = [(term.loss.component.name, term.weight, term.loss.bind()) for term in config.loss.mask]
    depth = [(term.loss.component.name, term.weight, term.loss.bind()) for term in config.loss.depth]
    weighting = config.weighting.bind()(("mask", "depth"))
    loss = JointLoss(mask, depth, weighting).to(execution.device)
    size = config.stages[0].height_width
    shared: tuple[bool, ...] = ()
    if isinstance(weighting, GradientWeighting):
        shared = shared_parameters(model, size)
    look = partial(model.look, size)
    optimizer = make_optimizer(config.optimizer, model, config.groups, look, others=loss.parameters())
    ends, step = [], 0
    for stage in config.stages:
        for _ in range(stage.epochs):
            step += prepared.loaders.steps(stage)
            ends.append(step)
    schedule = config.schedule.bind()(optimizer, Timeline(tuple(ends)))
    return Learner(model, loss, optimizer, schedule, execution.scaler(), execution, config.training.clip_norm, shared)


def _trainer(prepared: Prepared, folder: Path, report: Report, seconds: float | None, progress: Progress) -> Trainer:
    config, spec = prepared.config, prepared.index.depth
    return Trainer(config.stages, config.training, config.objective, spec, folder, report, seconds, progress)
