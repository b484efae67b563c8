"""One execution of an experiment: from what was prepared to a result in the run's folder and in the stores."""

import json
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from dmx.config import ExperimentConfig
from dmx.config.flat import flatten
from dmx.errors import FullError, full
from dmx.experiment.ended import tidy
from dmx.experiment.exactness import begun, exact
from dmx.experiment.failures import crashed, no_room, reason, transient
from dmx.experiment.prepare import Prepared
from dmx.experiment.start import IDENTITY, check_identity, costs, identity_of, start_of
from dmx.outcome import Outcome
from dmx.registry.ranges import Scalar
from dmx.results.records import RESULT
from dmx.sums import BEST_SAMPLES
from dmx.tracking import RunTracker, Untracked, open_run
from dmx.tracking.files import replace_text
from dmx.tracking.graph import draw_graph
from dmx.tracking.home import Home
from dmx.tracking.secrets import without_secrets
from dmx.training.gradients import shared_parameters
from dmx.training.groups import make_optimizer
from dmx.training.joint_loss import JointLoss
from dmx.training.processes import number, synchronised
from dmx.training.progress import Progress
from dmx.training.result import RunResult
from dmx.training.schedules import Timeline
from dmx.training.seeding import seed_everything
from dmx.training.step import Learner
from dmx.training.trainer import BEST_WEIGHTS, Trainer
from dmx.weighting.kinds import GradientWeighting

Report = Callable[[int, Mapping[str, float | None]], str]


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
    searched: Mapping[str, Scalar] = MappingProxyType({}),
    progress: Progress,
    report: Report = lambda epoch, metrics: "",
    seconds: float | None = None,
    passed: int = 0,
    stores: bool = True,
    also: Sequence[str] = (),
) -> tuple[RunResult, int]:
    """Train, from the checkpoint where there is one.

    Args:
        prepared: What to train.
        home: Where results go.
        run_id: The run's folder and name.
        experiment: The MLflow experiment.
        tags: What to find the run by.
        searched: What a study varies, under its names.
        progress: Who watches.
        report: Told the metrics after each epoch; gives why the run should be pruned, if it should.
        seconds: How long it may train, over every start.
        passed: The epoch up to which a run that was pruned goes on after all.
        stores: Whether MLflow and TensorBoard are fed, beside the journal.
        also: Metrics that the best epoch must have a value of, beside the objective.

    Returns:
        The result, and how many events the stores still lack.
    """
    folder = home.run(run_id)
    check_identity(folder / IDENTITY, prepared, f"run {run_id}")
    prepared = as_begun(prepared, folder)
    learner = learner_of(prepared)  # before anything is written: a user's mistake may show only here
    trainer = _trainer(prepared, folder, report, seconds, passed, progress, also)
    if number():  # the first process has the records
        return trainer.fit(learner, prepared.loaders, Untracked()), 0
    tracker = open_run(home, run_id, start_of(prepared, run_id, experiment, tags, searched), stores=stores)
    try:
        if stores and tags.get("dmx.role") != "trial":  # of which there are many alike
            draw_graph(home.tensorboard(run_id) / "graph", prepared.model.net, example(prepared))
        result = trainer.fit(learner, prepared.loaders, tracker)
    except KeyboardInterrupt:
        tracker.finish(Outcome.INTERRUPTED, "SIGINT")
        raise
    except Exception as error:
        _broken_off(error, prepared, folder, tags, tracker)
        raise
    return result, _close(prepared, folder, tags, result, tracker)


def as_begun(prepared: Prepared, folder: Path) -> Prepared:
    """With the precision in which the run began, wherever it goes on.

    Raises:
        UserError: That comes out wrong on this machine.
    """
    before, execution = begun(folder), prepared.execution
    if before is None or before == (execution.dtype, execution.refused):
        return prepared
    execution = replace(execution, dtype=before[0], refused=before[1])
    if execution.dtype != prepared.execution.dtype:
        who = f"the precision in which run {folder.name} began"
        execution = exact(prepared.config, prepared.model, prepared.index, prepared.split.train, execution, who)
    return replace(prepared, execution=execution)


def _broken_off(
    error: Exception, prepared: Prepared, folder: Path, tags: Mapping[str, str], tracker: RunTracker
) -> None:
    """Put on record why a run was broken off.

    Raises:
        FullError: There was no room for something.
    """
    if full(error):
        with suppress(OSError):
            tracker.finish(Outcome.INTERRUPTED, reason(error))
        raise FullError(no_room(error, folder)) from error
    replace_text(folder / "crash.txt", without_secrets(traceback.format_exc()))
    tracker.artifact(folder / "crash.txt")
    if transient(error):  # without a result, so that the next attempt goes on
        tracker.finish(Outcome.INTERRUPTED, reason(error))
    else:
        _close(prepared, folder, tags, crashed(error), tracker)


def example(prepared: Prepared) -> tuple[Tensor, ...]:
    """Black pictures of the first stage's size: what the network takes."""
    height, width = prepared.config.stages[0].height_width
    picture = torch.zeros(1, 3, height, width, device=prepared.execution.device)
    return (picture, picture)


def run_known(
    prepared: Prepared,
    home: Home,
    run_id: str,
    *,
    experiment: str,
    tags: Mapping[str, str],
    searched: Mapping[str, Scalar],
    result: RunResult,
) -> int:
    """A run whose result is known without training: it stands in all records like any other.

    Returns:
        How many events the stores still lack.
    """
    tracker = open_run(home, run_id, start_of(prepared, run_id, experiment, tags, searched))
    return _close(prepared, home.run(run_id), tags, result, tracker)


def _close(prepared: Prepared, folder: Path, tags: Mapping[str, str], result: RunResult, tracker: RunTracker) -> int:
    """Keep the result and the best weights; the number of events that the stores still lack."""
    if result.best is not None and result.outcome is not Outcome.INTERRUPTED:
        known = {name: value for name, value in result.best.metrics.items() if value is not None}
        best = {name.replace("val/", "val_best/", 1): value for name, value in known.items()}
        tracker.log(result.steps, {**best, "val_best/epoch": result.best.epoch})
        if (folder / BEST_SAMPLES).exists():
            tracker.artifact(folder / BEST_SAMPLES)
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
        **costs(prepared),
        **identity_of(prepared),
        **result.to_dict(),
    }
    replace_text(folder / RESULT, json.dumps(record, indent=1))  # last: where it stands, all else stands too
    if tags.get("dmx.role") != "trial":  # which may be held, and go on; its study knows
        tidy(folder, result.outcome, config)
    return unsent


def learner_of(prepared: Prepared) -> Learner:
    """Model, loss, optimizer and schedule of the configuration, on the device."""
    config, execution = prepared.config, prepared.execution
    model = synchronised(prepared.model, execution.device)
    model = model.to(execution.device, memory_format=execution.memory_format)  # type: ignore[call-overload]
    seed_everything(config.seed)
    mask = [(term.loss.component.name, term.weight, term.loss.bind()) for term in config.loss.mask]
    depth = [(term.loss.component.name, term.weight, term.loss.bind()) for term in config.loss.depth]
    weighting = config.weighting.bind()(("mask", "depth"))
    loss = JointLoss(mask, depth, weighting).to(execution.device)
    size = config.stages[0].height_width
    shared: tuple[bool, ...] = ()
    if isinstance(weighting, GradientWeighting):
        shared = shared_parameters(model, size)
    look = partial(model.look, size, traced=True)
    optimizer = make_optimizer(config.optimizer, model, config.groups, look, others=loss.parameters())
    ends, step = [], 0
    for stage in config.stages:
        for _ in range(stage.epochs):
            step += prepared.loaders.steps(stage)
            ends.append(step)
    schedule = config.schedule.bind()(optimizer, Timeline(tuple(ends)))
    return Learner(model, loss, optimizer, schedule, execution.scaler(), execution, config.training.clip_norm, shared)


def _trainer(prepared: Prepared, folder: Path, *how: Any) -> Trainer:
    config, spec = prepared.config, prepared.index.depth
    return Trainer(config.stages, config.training, config.objective, spec, folder, *how)
