"""The training loop: stages of epochs of steps, with checkpoints, validation and one outcome."""

import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dmx.config.experiment import ExperimentConfig, Stage
from dmx.data.loader import gone
from dmx.metrics import NO_REFERENCE, ReferenceMaps
from dmx.outcome import Outcome
from dmx.quartet import Batch, DepthSpec
from dmx.stored import intact
from dmx.tracking.home import BEST_SAMPLES, BEST_WEIGHTS, CHECKPOINT
from dmx.tracking.tracker import Tracker
from dmx.training.batch_norm import fresh_statistics
from dmx.training.checkpoint import AGAIN, load_state, save_state, save_weights
from dmx.training.device import free_memory, is_out_of_memory
from dmx.training.distributed import (
    all_reduce_mean,
    any_rank,
    broadcast_from_rank0,
    lost_process,
    rank,
    seed_by_rank,
    world_size,
)
from dmx.training.progress import RunOptions
from dmx.training.result import BestEpoch, RunResult, TrainerState, no_value_message
from dmx.training.seeding import random_states, restore_random_states
from dmx.training.step import DivergedError, Forward, Learner
from dmx.training.stopping import Interrupted, StopOnSignal, TimedOut
from dmx.training.validation import averaged_weights, validate

GRACE = 5.0
"""Grace period, in seconds, for a batch after the time limit, and for a batch of the validation after a signal."""


@runtime_checkable
class Loaders(Protocol):
    """The source of batches, which are already on the device."""

    def train(self, stage: Stage, epoch: int, skip: int) -> Iterable[Batch]:
        """The batches of an epoch without the first `skip`."""

    def steps(self, stage: Stage) -> int:
        """How many batches an epoch of `stage` has."""

    @property
    def groups(self) -> Mapping[str, str]:
        """The group of each validation sample."""

    def val(self) -> Iterable[Batch]:
        """All validation samples, at the size of the last stage, so that epochs of different stages are comparable."""

    def calibration(self) -> Iterable[Batch]:
        """Some training samples as validation has them, in whole batches."""


@dataclass
class Trainer:
    """Trains one model to one outcome; independent of logging backends.

    Attributes:
        config: The experiment: stages, training settings and objective.
        learner: Model, losses, optimizer and schedule.
        loaders: The source of batches.
        spec: The kind, range and direction of depth.
        folder: The folder for the checkpoint and the best weights.
        options: The caller's options: time limit, pruning, an observer.
        reference: What skill is measured against in validation.
        checkpoint: The checkpoint to resume from; None once it is restored.
        ema_model: The moving average of the weights, if enabled.
        forward: The model or its compiled form.
        tracker: Logs metrics, curves and pictures.
        state: The progress of the run.
        started: The time at which this start of the run began to train.
        saved: The time of the last checkpoint.
        stop: Handles signals and the time limit.
    """

    config: ExperimentConfig
    learner: Learner
    loaders: Loaders
    spec: DepthSpec
    folder: Path
    options: RunOptions
    reference: ReferenceMaps = NO_REFERENCE
    checkpoint: dict[str, Any] | None = field(init=False)
    ema_model: AveragedModel | None = field(init=False)
    forward: Forward = field(init=False)
    tracker: Tracker = field(init=False)
    state: TrainerState = field(default_factory=TrainerState, init=False)
    started: float = field(default=0.0, init=False)
    saved: float = field(default=0.0, init=False)
    stop: StopOnSignal = field(default_factory=StopOnSignal, init=False)

    def __post_init__(self) -> None:
        self.checkpoint = load_state(self.folder / CHECKPOINT)  # a damaged checkpoint raises before anything is written

    def fit(self, tracker: Tracker) -> RunResult:
        """Train from the checkpoint, or from the start if there is none, to an outcome.

        Errors that are not about training (a broken picture, a bug) are raised.
        """
        self.tracker = tracker
        self.ema_model = moving_average(self.learner.model, self.config.training.ema_decay)
        self.forward = self.learner.compiled() if self.learner.device_config.compile else self.learner.model
        self.state = self._resume()
        seed_by_rank()
        self.started = self.saved = time.monotonic()
        steps = sum(stage.epochs * self.loaders.steps(stage) for stage in self.config.stages)
        self.options.progress.start(self.state.step, steps)
        seconds = self.options.seconds
        self.stop = StopOnSignal(None if seconds is None else seconds - self.state.seconds + GRACE)
        outcome, reason = self._to_an_outcome()
        at = self.state
        if outcome is Outcome.COMPLETE and at.best is None:
            outcome = Outcome.UNDEFINED
            reason = no_value_message((self.config.objective.metric, *self.options.required_metrics), at.epoch)
        elif outcome is Outcome.COMPLETE and at.pieces > 1:
            reason = f"each batch in {at.pieces} pieces, because memory ran out"
        return RunResult(outcome, reason, at.best, at.epoch, at.step, self._seconds())

    def _to_an_outcome(self) -> tuple[Outcome, str]:
        """Train all epochs; return errors of the training itself as an outcome with a reason."""
        with self.stop:
            try:
                return self._epochs()
            except DivergedError as error:
                return Outcome.DIVERGED, f"{error} at step {self.state.step}"
            except Interrupted as signal_name:
                return Outcome.INTERRUPTED, f"{signal_name} at step {self.state.step}"
            except TimedOut:
                return Outcome.TIMED_OUT, f"{self.options.seconds:g} s are over at step {self.state.step}"
            except (RuntimeError, MemoryError) as error:
                if (away := gone(error) or lost_process(error)) is not None:
                    raise away from error
                if not is_out_of_memory(error):
                    raise
                return Outcome.OUT_OF_MEMORY, str(error).partition("\n")[0]

    def _epochs(self) -> tuple[Outcome, str]:
        at, objective = self.state, self.config.objective
        epochs = [stage for stage in self.config.stages for _ in range(stage.epochs)]
        while at.epoch < len(epochs) and not at.pruned:
            self._train_epoch(epochs[at.epoch])
            self.learner.loss.weighting.epoch_ended()
            with averaged_weights(self.learner.optimizer), self._fresh_statistics():
                metrics = broadcast_from_rank0(partial(self._validate, len(epochs)))
            value = metrics[objective.metric]
            if value is not None and hasattr(self.learner.schedule, "epoch_ended"):
                self.learner.schedule.epoch_ended(objective.descending(value))
            at.epoch, at.step_in_epoch = at.epoch + 1, 0
            report = partial(self.options.report, at.epoch, metrics)
            reason = broadcast_from_rank0(report) if value is not None else ""
            if reason and at.epoch < len(epochs):
                at.pruned = reason
            self._checkpoint()
            if any_rank(self.stop.caught is not None):
                raise Interrupted(self.stop.caught or "a signal")
        return (Outcome.PRUNED, at.pruned) if at.pruned else (Outcome.COMPLETE, "")

    def _train_epoch(self, stage: Stage) -> None:
        settings = self.config.training
        self.learner.model.train()
        try:
            for batch in self._waited(self.loaders.train(stage, self.state.epoch, skip=self.state.step_in_epoch)):
                self._train_step(batch, stage)
                if world_size() == 1 or self.state.step % settings.log_every == 0:  # this step synchronizes anyway
                    self._stop_if_asked()
                if time.monotonic() - self.saved >= settings.checkpoint_seconds:
                    self._checkpoint()
        except Interrupted:
            self._checkpoint()
            raise

    def _train_step(self, batch: Batch, stage: Stage) -> None:
        """One step: forward, losses and backward; update; moving average; log.

        If memory runs out and `on_oom` is `halve`, the step is repeated with the batch in twice as many pieces.
        """
        learner, at = self.learner, self.state
        # the last batch of an epoch may be smaller; recompiling for it would cost more than it saves
        forward = self.forward if len(batch) * world_size() == stage.batch_size else learner.model
        while True:
            try:
                losses = learner.forward_backward(batch, forward, at.pieces)
                break
            except (RuntimeError, MemoryError) as error:
                if not (is_out_of_memory(error) and self._may_halve(batch)):
                    raise
            at.pieces *= 2  # outside of `except`, where the error no longer references the activations
            learner.optimizer.zero_grad(set_to_none=True)
            free_memory()
        losses |= learner.update()
        if self.ema_model is not None:
            self.ema_model.update_parameters(learner.model)
        at.step += 1
        at.step_in_epoch += 1
        self._log(losses, len(batch))

    def _stop_if_asked(self) -> None:
        if self.options.seconds is not None and any_rank(self._seconds() > self.options.seconds):
            raise TimedOut
        if any_rank(self.stop.caught is not None):
            raise Interrupted(self.stop.caught or "a signal")

    def _waited(self, batches: Iterable[Batch], grace: float | None = None) -> Iterable[Batch]:
        """The batches with interruptible waits; not with several ranks, which must all stop after the same step."""
        return self.stop.waited(batches, grace) if world_size() == 1 else batches

    def _may_halve(self, batch: Batch) -> bool:
        """Whether the batch may be halved: some weightings need the whole batch, and all ranks the same pieces."""
        divides = world_size() == 1 and self.learner.loss.weighting.divides
        return self.config.training.on_oom == "halve" and divides and len(batch) >= 4 * self.state.pieces

    def _log(self, losses: dict[str, Tensor], samples: int) -> None:
        """Log losses every `log_every` steps, the only steps that synchronize with the device."""
        if self.state.step % self.config.training.log_every:
            self.options.progress.step(samples, None)
            return
        names = list(losses)
        together = torch.stack([losses[name].float() for name in names])
        all_reduce_mean([together])
        values = dict(zip(names, together.tolist(), strict=True))
        bad = [name for name, value in values.items() if not abs(value) < float("inf") and name != "gradient_norm"]
        if bad:
            raise DivergedError(f"{', '.join(bad)} is not finite")
        weights = {f"weight/{task}": w for task, w in self.learner.loss.weighting.weights().items()}
        values |= {"learning_rate": self.learner.optimizer.param_groups[0]["lr"], **weights}
        if self.state.pieces > 1:
            values["pieces"] = self.state.pieces
        self.tracker.log(self.state.step, {f"train/{name}": value for name, value in values.items()})
        self.options.progress.step(samples, values["loss"])

    def _validate(self, epochs: int) -> dict[str, float | None]:
        """Validate, log, and save the weights if they are the best so far.

        Returns:
            All metrics by name.
        """
        found, spread, picture = validate(
            self._validated,
            self._waited(self.loaders.val(), GRACE),
            self.spec,
            self.learner.device_config,
            self.reference,
        )
        named = {f"val/{name}": value for name, value in found.compute().items()}
        value = named[self.config.objective.metric]
        known = {name: value for name, value in named.items() if value is not None}
        self.tracker.log(self.state.step, {**known, "epoch": self.state.epoch + 1})
        self.tracker.image(self.state.step, "val", picture)
        self.tracker.curve(self.state.step, "val/mask", *spread.curve())
        whole = all(named[metric] is not None for metric in self.options.required_metrics)
        best = self.state.best
        if value is not None and whole and (best is None or self.config.objective.better(value, than=best.value)):
            save_weights(self.folder / BEST_WEIGHTS, self._validated)
            found.samples(self.loaders.groups).save(self.folder / BEST_SAMPLES)
            self.state.best = BestEpoch(self.state.epoch + 1, self.state.step, value, named)
        self.options.progress.epoch(self.state.epoch + 1, epochs, named)
        return named

    @property
    def _validated(self) -> nn.Module:
        """The model that is validated, and whose best weights are kept."""
        return self.ema_model.module if self.ema_model is not None else self.learner.model

    def _fresh_statistics(self) -> AbstractContextManager[None]:
        """Batch norm's statistics as of now; on all ranks, which may norm over all their batches together."""
        if self.config.training.batch_norm == "running":
            return nullcontext()
        return fresh_statistics(
            self._validated, lambda: self._waited(self.loaders.calibration(), GRACE), self.learner.device_config
        )

    def _seconds(self) -> float:
        return self.state.seconds + time.monotonic() - self.started

    def _checkpoint(self) -> None:
        self.saved = time.monotonic()
        if rank():
            return
        position = {**asdict(self.state), "seconds": self._seconds()}
        state = {name: part.state_dict() for name, part in self._parts().items()}
        save_state(self.folder / CHECKPOINT, {"position": position, "random": random_states(), **state})

    def _resume(self) -> TrainerState:
        stored, self.checkpoint = self.checkpoint, None  # free the reference: it is as large as the model's state
        if stored is None:
            return TrainerState()
        with intact(self.folder / CHECKPOINT, AGAIN):
            at = TypeAdapter(TrainerState).validate_python(stored["position"])
            best = (self.folder / BEST_WEIGHTS, self.folder / BEST_SAMPLES)
            if at.best is not None and not all(path.is_file() for path in best):
                return TrainerState()  # the best weights were removed; a resumed run might end without any
            for name, part in self._parts().items():
                part.load_state_dict(stored[name])
            restore_random_states(stored["random"])
        return replace(at, pruned="") if at.epoch <= self.options.resume_past_epoch else at

    def _parts(self) -> dict[str, Any]:
        """Everything whose state a run needs to resume as if it had never stopped."""
        learner = self.learner
        parts: dict[str, Any] = {
            "model": learner.model,
            "loss": learner.loss,
            "optimizer": learner.optimizer,
            "schedule": learner.schedule,
            "scaler": learner.scaler,
        }
        return parts if self.ema_model is None else {**parts, "average": self.ema_model}


def moving_average(model: nn.Module, decay: float | None) -> AveragedModel | None:
    """Create an exponential moving average of the weights and buffers; None without a decay."""
    if decay is None:
        return None
    average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]  # torch has no types there
    return AveragedModel(model, multi_avg_fn=average, use_buffers=True)
