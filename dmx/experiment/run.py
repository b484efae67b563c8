"""One run of a prepared experiment, to a result in the run's folder and in MLflow and TensorBoard."""

import json
import traceback
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dmx.config import ExperimentConfig
from dmx.config.experiment import flatten
from dmx.errors import FullError, UserError, full
from dmx.experiment.failures import crashed, no_room, reason, transient
from dmx.experiment.prepare import Prepared, check_precision
from dmx.experiment.references import Source, kept_references
from dmx.experiment.run_record import Tracking, check_identity, costs, identity_of, start_of
from dmx.experiment.trained import begun
from dmx.machine import keeping_freed_memory
from dmx.outcome import Outcome
from dmx.results.references import BELOW_TAG, below, references_of, standings
from dmx.stored import replace_text
from dmx.tracking import RunTracker, Tracker, open_run
from dmx.tracking.home import BEST_SAMPLES, BEST_WEIGHTS, CHECKPOINT, CRASH, IDENTITY, RESULT, Home
from dmx.tracking.secrets import without_secrets
from dmx.tracking.tensorboard_store import draw_graph
from dmx.training.distributed import rank, sync_batch_norm
from dmx.training.gradients import shared_parameters
from dmx.training.groups import make_optimizer
from dmx.training.progress import RunOptions
from dmx.training.result import RunResult
from dmx.training.schedules import Timeline
from dmx.training.seeding import seed_everything
from dmx.training.step import JointLoss, Learner
from dmx.training.trainer import Trainer
from dmx.weighting.kinds import GradientWeighting

DEFAULTS = RunOptions()
UNFINISHED = (Outcome.INTERRUPTED, Outcome.CRASHED, Outcome.OUT_OF_MEMORY)
"""Outcomes after which the same command resumes from the checkpoint; all others are final."""


def run_id_of(config: ExperimentConfig) -> str:
    """The run id of a configuration; equal configurations have equal ids, so that the same command resumes the run."""
    return f"{config.name}-{config.fingerprint[:8]}"


def run(
    prepared: Prepared, home: Home, run_id: str, tracking: Tracking, options: RunOptions = DEFAULTS
) -> tuple[RunResult, int]:
    """Train, resuming from the checkpoint if there is one.

    Args:
        prepared: The prepared experiment.
        home: The results folder.
        run_id: The run's folder and name.
        tracking: How the run is tracked.
        options: An observer, limits, and the pruning callback.

    Returns:
        The result, and the number of events not yet sent to MLflow and TensorBoard.
    """
    folder = home.run(run_id)
    check_identity(folder / IDENTITY, prepared, f"run {run_id}")
    prepared = with_original_device_settings(prepared, folder)
    device = prepared.device_config.device
    source = Source(prepared.index, prepared.split, prepared.loaders.samples, identity_of(prepared), device)
    reference = kept_references(home, source, options.progress.loading).maps
    learner = learner_of(prepared)  # before anything is written: it may raise user errors
    trainer = Trainer(prepared.config, learner, prepared.loaders, prepared.index.depth, folder, options, reference)
    memory = keeping_freed_memory() if device.type == "cpu" else nullcontext()
    if rank():  # only rank 0 writes records
        with memory:
            return trainer.fit(Tracker()), 0
    tracker = open_run(home, run_id, start_of(prepared, run_id, tracking), stores=tracking.stores)
    try:
        if tracking.stores and not tracking.is_trial:  # trials are many, with similar graphs
            draw_graph(home.tensorboard(run_id) / "graph", prepared.model.net, example(prepared))
        with memory:
            result = trainer.fit(tracker)
    except KeyboardInterrupt:
        tracker.finish(Outcome.INTERRUPTED, "SIGINT")
        raise
    except Exception as error:
        _broken_off(error, prepared, folder, tracking, tracker)
        raise
    return result, _close(prepared, folder, tracking, result, tracker, options.required_metrics)


def with_original_device_settings(prepared: Prepared, folder: Path) -> Prepared:
    """Use the precision, memory format and compilation with which the run was started.

    The precision is kept on any machine; the memory format only on the same kind of device; compilation only where it
    is possible now.

    Raises:
        UserError: The network's outputs are wrong in the precision on this machine.
    """
    before, now = begun(folder), prepared.device_config
    if before is None:
        return prepared
    same = before.device.type == now.device.type
    device_config = replace(
        before,
        device=now.device,
        memory_format=before.memory_format if same else now.memory_format,
        compile=before.compile and now.compile,
    )
    if before.dtype != now.dtype:
        who = f"the precision in which run {folder.name} began"
        device_config = check_precision(
            prepared.config, prepared.model, prepared.index, prepared.split.train, device_config, who
        )
    loaders = replace(prepared.loaders, device_config=device_config)
    return replace(prepared, device_config=device_config, loaders=loaders)


def _broken_off(error: Exception, prepared: Prepared, folder: Path, tracking: Tracking, tracker: RunTracker) -> None:
    """Record why a run failed.

    Raises:
        FullError: A disk is full.
    """
    if full(error):
        with suppress(OSError):
            tracker.finish(Outcome.INTERRUPTED, reason(error))
        raise FullError(no_room(error, folder)) from error
    replace_text(folder / CRASH, without_secrets(traceback.format_exc()))
    tracker.artifact(folder / CRASH)
    if transient(error):  # store no result, so that the next attempt resumes
        tracker.finish(Outcome.INTERRUPTED, reason(error))
    else:
        _close(prepared, folder, tracking, crashed(error), tracker)


def example(prepared: Prepared) -> tuple[Tensor, ...]:
    """Black pictures of the first stage's size, as example inputs of the network."""
    height, width = prepared.config.stages[0].height_width
    picture = torch.zeros(1, 3, height, width, device=prepared.device_config.device)
    return (picture, picture)


def record_without_training(prepared: Prepared, home: Home, run_id: str, tracking: Tracking, result: RunResult) -> int:
    """Record a run whose result is known without training.

    Returns:
        The number of events not yet sent to MLflow and TensorBoard.
    """
    tracker = open_run(home, run_id, start_of(prepared, run_id, tracking))
    return _close(prepared, home.run(run_id), tracking, result, tracker)


def _close(
    prepared: Prepared,
    folder: Path,
    tracking: Tracking,
    result: RunResult,
    tracker: RunTracker,
    required: Sequence[str] = (),
) -> int:
    """Record the result, how it stands against the references, and the best weights.

    Returns:
        The number of events not yet sent to MLflow and TensorBoard.
    """
    if result.best is not None and result.outcome is not Outcome.INTERRUPTED:
        known = {name: value for name, value in result.best.metrics.items() if value is not None}
        best = {name.replace("val/", "val_best/", 1): value for name, value in known.items()}
        tracker.log(result.steps, {**best, "val_best/epoch": result.best.epoch})
        if (folder / BEST_SAMPLES).exists():
            tracker.artifact(folder / BEST_SAMPLES)
        if result.outcome is Outcome.COMPLETE and (folder / BEST_WEIGHTS).exists():
            tracker.artifact(folder / BEST_WEIGHTS)
    config, identity = prepared.config, identity_of(prepared)
    values = result.best.metrics if result.best else {}
    tags = _standing(folder, identity, (config.objective.metric, *required), values)
    unsent = tracker.finish(result.outcome, result.reason, tags=tags)
    record = {
        "run": folder.name,
        "tags": dict(tracking.tags),
        "fingerprint": config.fingerprint,
        "objective": config.objective.model_dump(),
        "params": flatten(config),
        **costs(prepared),
        **identity,
        **result.to_dict(),
    }
    replace_text(folder / RESULT, json.dumps(record, indent=1))  # last: its presence marks a complete record
    if not tracking.is_trial:  # a paused trial may be promoted; only its study knows its end
        remove_unneeded_files(folder, result.outcome, config)
    return unsent


def _standing(
    folder: Path, identity: Mapping[str, Any], metrics: Sequence[str], values: Mapping[str, float | None]
) -> dict[str, str]:
    """The tag that says which references a run is no better than; empty if there are no references."""
    found = []
    with suppress(UserError):  # damaged: no reason to lose the result
        found = standings(references_of(Home(folder.parent.parent), [identity]), metrics, values)
    return {BELOW_TAG: below(found)} if found else {}


def remove_unneeded_files(folder: Path, outcome: Outcome, config: ExperimentConfig, *, trial: bool = False) -> None:
    """Remove the checkpoint of a run that has ended, and a pruned trial's weights, unless its configuration keeps them.

    It is idempotent: after a kill, another call removes the remaining files.

    Args:
        folder: The run's folder.
        outcome: How it ended.
        config: Its experiment, or its study's.
        trial: Whether it is a trial that its study has ended: it is never resumed, whatever the outcome.
    """
    if config.training.keep == "all" or (outcome in UNFINISHED and not trial):
        return
    names = [CHECKPOINT, *([BEST_WEIGHTS] if trial and outcome is Outcome.PRUNED else [])]
    for path in (folder / name for name in names):
        path.unlink(missing_ok=True)
        path.with_suffix(".partial").unlink(missing_ok=True)


def learner_of(prepared: Prepared) -> Learner:
    """Model, loss, optimizer and schedule of the configuration, on the device."""
    config, device_config = prepared.config, prepared.device_config
    model = sync_batch_norm(prepared.model, device_config.device)
    model = device_config.place(model)
    seed_everything(config.seed)
    mask = [(term.loss.component.name, term.weight, term.loss.bind()) for term in config.loss.mask]
    depth = [(term.loss.component.name, term.weight, term.loss.bind()) for term in config.loss.depth]
    weighting = config.weighting.bind()(("mask", "depth"))
    loss = JointLoss(mask, depth, weighting).to(device_config.device)
    size = config.stages[0].height_width
    shared: tuple[bool, ...] = ()
    if isinstance(weighting, GradientWeighting):
        shared = shared_parameters(model, size)
    dry_run = partial(model.dry_run, size, traced=True)
    optimizer = make_optimizer(config.optimizer, model, config.groups, dry_run, others=loss.parameters())
    epoch_ends, step = [], 0
    for stage in config.stages:
        for _ in range(stage.epochs):
            step += prepared.loaders.steps(stage)
            epoch_ends.append(step)
    schedule = config.schedule.bind()(optimizer, Timeline(tuple(epoch_ends)))
    return Learner(
        model, loss, optimizer, schedule, device_config.scaler(), device_config, config.training.clip_norm, shared
    )
