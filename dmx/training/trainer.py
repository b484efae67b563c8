"""The training loop: stages of epochs of steps, with checkpoints, validation and one outcome."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dmx.config.experiment import Stage, TrainingConfig
from dmx.config.objective import Objective
from dmx.data.loader import gone
from dmx.outcome import Outcome
from dmx.quartet import Batch, DepthSpec
from dmx.stored import intact
from dmx.sums import BEST_SAMPLES
from dmx.tracking.tracker import Tracker
from dmx.training.batches import Loaders
from dmx.training.checkpoint import AGAIN, load_state, save_state, save_weights
from dmx.training.memory import free, is_out_of_memory
from dmx.training.processes import anywhere, average, draw_apart, from_first, lost, number, processes
from dmx.training.progress import Progress
from dmx.training.result import Best, Position, RunResult, without_value
from dmx.training.seeding import random_states, restore_random_states
from dmx.training.step import DivergedError, Forward, Learner
from dmx.training.stopping import Interrupted, StopOnSignal, TimedOut
from dmx.training.validation import averaged_weights, validate

CHECKPOINT = "checkpoint.pt"
GRACE = 5.0
"""Seconds that a batch is still waited for when the time is over, and one of the validation when a signal came."""
BEST_WEIGHTS = "best.safetensors"
"""What each validation sample came to in the best epoch."""


@dataclass
class Trainer:
    """Trains one model to one outcome; knows no store.

    Attributes:
        stages: Epochs at one size each, in order.
        settings: Logging, checkpoints, averaging.
        objective: Which metric the best epoch goes by.
        spec: How depth is to be read.
        folder: Where the checkpoint and the best weights go.
        report: Told after each validation with a value of the objective the epoch, counted from 1, and all metrics;
            gives why the run should be pruned, if it should.
        seconds: How long it may train, over every start.
        passed: The epoch up to which a run that was pruned goes on after all.
        progress: Who watches.
        also: Metrics that the best epoch must have a value of, beside the objective.
    """

    stages: Sequence[Stage]
    settings: TrainingConfig
    objective: Objective
    spec: DepthSpec
    folder: Path
    report: Callable[[int, Mapping[str, float | None]], str]
    seconds: float | None
    passed: int
    progress: Progress
    also: Sequence[str] = ()

    def __post_init__(self) -> None:
        self.state = load_state(self.folder / CHECKPOINT)  # a damaged one shows before anything is written

    def fit(self, learner: Learner, loaders: Loaders, tracker: Tracker) -> RunResult:
        """Train from the checkpoint, or from the start where there is none, to an outcome.

        Errors that are not about training (a broken picture, a defect of ours) pass through.
        """
        self.learner, self.loaders, self.tracker = learner, loaders, tracker
        self.average = self._average()
        self.forward = learner.compiled() if learner.execution.compile else learner.model
        self.at = self._resume()
        draw_apart()
        self.started = self.saved = time.monotonic()
        self.progress.start(self.at.step, sum(stage.epochs * loaders.steps(stage) for stage in self.stages))
        outcome, reason = Outcome.COMPLETE, ""
        left = None if self.seconds is None else self.seconds - self.at.seconds + GRACE
        with StopOnSignal(left) as self.stop:
            try:
                outcome, reason = self._epochs()
            except DivergedError as error:
                outcome, reason = Outcome.DIVERGED, f"{error} at step {self.at.step}"
            except Interrupted as signal_name:
                outcome, reason = Outcome.INTERRUPTED, f"{signal_name} at step {self.at.step}"
            except TimedOut:
                outcome, reason = Outcome.TIMED_OUT, f"{self.seconds:g} s are over at step {self.at.step}"
            except (RuntimeError, MemoryError) as error:
                if (away := gone(error) or lost(error)) is not None:
                    raise away from error
                if not is_out_of_memory(error):
                    raise
                outcome, reason = Outcome.OUT_OF_MEMORY, str(error).partition("\n")[0]
        if outcome is Outcome.COMPLETE and self.at.best is None:
            outcome, reason = Outcome.UNDEFINED, without_value((self.objective.metric, *self.also), self.at.epoch)
        elif outcome is Outcome.COMPLETE and self.at.pieces > 1:
            reason = f"each batch in {self.at.pieces} pieces, because memory ran out"
        return RunResult(outcome, reason, self.at.best, self.at.epoch, self.at.step, self._seconds())

    def _epochs(self) -> tuple[Outcome, str]:
        epochs = [stage for stage in self.stages for _ in range(stage.epochs)]
        while self.at.epoch < len(epochs) and not self.at.pruned:
            self._train_epoch(epochs[self.at.epoch])
            self.learner.loss.weighting.epoch_ended()
            with averaged_weights(self.learner.optimizer):
                metrics = from_first(partial(self._validate, len(epochs)))
            value = metrics[self.objective.metric]
            if value is not None and hasattr(self.learner.schedule, "epoch_ended"):
                self.learner.schedule.epoch_ended(self.objective.descending(value))
            self.at.epoch, self.at.step_in_epoch = self.at.epoch + 1, 0
            reason = from_first(partial(self.report, self.at.epoch, metrics)) if value is not None else ""
            if reason and self.at.epoch < len(epochs):
                self.at.pruned = reason
            self._checkpoint()
            if anywhere(self.stop.caught is not None):
                raise Interrupted(self.stop.caught or "a signal")
        return (Outcome.PRUNED, self.at.pruned) if self.at.pruned else (Outcome.COMPLETE, "")

    def _train_epoch(self, stage: Stage) -> None:
        try:
            self._steps(stage)
        except Interrupted:
            self._checkpoint()
            raise

    def _steps(self, stage: Stage) -> None:
        learner = self.learner
        learner.model.train()
        for batch in self._waited(self.loaders.train(stage, self.at.epoch, skip=self.at.step_in_epoch)):
            # the last batch of an epoch may be smaller: compiling once more for it would cost more than it saves
            forward = self.forward if len(batch) * processes() == stage.batch_size else learner.model
            losses = {**self._gradients(batch, forward), **learner.update()}
            if self.average is not None:
                self.average.update_parameters(learner.model)
            self.at.step += 1
            self.at.step_in_epoch += 1
            self._log(losses, len(batch))
            if processes() == 1 or self.at.step % self.settings.log_every == 0:  # where the device is waited for anyway
                self._stop_if_asked()
            if time.monotonic() - self.saved >= self.settings.checkpoint_seconds:
                self._checkpoint()

    def _stop_if_asked(self) -> None:
        if self.seconds is not None and anywhere(self._seconds() > self.seconds):
            raise TimedOut
        if anywhere(self.stop.caught is not None):
            raise Interrupted(self.stop.caught or "a signal")

    def _waited(self, batches: Iterable[Batch], grace: float | None = None) -> Iterable[Batch]:
        """The batches, of which each is waited for; several processes stop after the same step only."""
        return self.stop.waited(batches, grace) if processes() == 1 else batches

    def _gradients(self, batch: Batch, forward: Forward) -> dict[str, Tensor]:
        """As `Learner.gradients`; where memory runs out and the run is to go on, in twice as many pieces."""
        while True:
            try:
                return self.learner.gradients(batch, forward, self.at.pieces)
            except (RuntimeError, MemoryError) as error:
                if not (is_out_of_memory(error) and self._may_halve(batch)):
                    raise
            self.at.pieces *= 2
            self.learner.optimizer.zero_grad(set_to_none=True)
            free()

    def _may_halve(self, batch: Batch) -> bool:
        """Some weightings need the losses of the whole batch, and all processes the same number of pieces."""
        divides = processes() == 1 and self.learner.loss.weighting.divides
        return self.settings.on_oom == "halve" and divides and len(batch) >= 4 * self.at.pieces

    def _log(self, losses: dict[str, Tensor], samples: int) -> None:
        """Put a point on the training curves every `log_every` steps: only then is the device waited for."""
        if self.at.step % self.settings.log_every:
            self.progress.step(samples, None)
            return
        names = list(losses)
        together = torch.stack([losses[name].float() for name in names])
        average([together])
        values = dict(zip(names, together.tolist(), strict=True))
        bad = [name for name, value in values.items() if not abs(value) < float("inf") and name != "gradient_norm"]
        if bad:
            raise DivergedError(f"{', '.join(bad)} is not finite")
        weights = {f"weight/{task}": w for task, w in self.learner.loss.weighting.weights().items()}
        values |= {"learning_rate": self.learner.optimizer.param_groups[0]["lr"], **weights}
        if self.at.pieces > 1:
            values["pieces"] = self.at.pieces
        self.tracker.log(self.at.step, {f"train/{name}": value for name, value in values.items()})
        self.progress.step(samples, values["loss"])

    def _validate(self, epochs: int) -> dict[str, float | None]:
        """Validate, log, keep the weights if they are the best so far; gives all metrics."""
        model = self.average.module if self.average is not None else self.learner.model
        found, spread, picture = validate(
            model, self._waited(self.loaders.val(), GRACE), self.spec, self.learner.execution
        )
        named = {f"val/{name}": value for name, value in found.compute().items()}
        value = named[self.objective.metric]
        known = {name: value for name, value in named.items() if value is not None}
        self.tracker.log(self.at.step, {**known, "epoch": self.at.epoch + 1})
        self.tracker.image(self.at.step, "val", picture)
        self.tracker.curve(self.at.step, "val/mask", *spread.curve())
        whole = all(named[metric] is not None for metric in self.also)
        best = self.at.best
        if value is not None and whole and (best is None or self.objective.better(value, than=best.value)):
            save_weights(self.folder / BEST_WEIGHTS, model)
            found.samples(self.loaders.groups).save(self.folder / BEST_SAMPLES)
            self.at.best = Best(self.at.epoch + 1, self.at.step, value, named)
        self.progress.epoch(self.at.epoch + 1, epochs, named)
        return named

    def _average(self) -> AveragedModel | None:
        decay = self.settings.ema_decay
        if decay is None:
            return None
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]  # torch has no types there
        return AveragedModel(self.learner.model, multi_avg_fn=average, use_buffers=True)

    def _seconds(self) -> float:
        return self.at.seconds + time.monotonic() - self.started

    def _checkpoint(self) -> None:
        self.saved = time.monotonic()
        if number():
            return
        position = {**self.at.to_dict(), "seconds": self._seconds()}
        state = {name: part.state_dict() for name, part in self._parts().items()}
        save_state(self.folder / CHECKPOINT, {"position": position, "random": random_states(), **state})

    def _resume(self) -> Position:
        state, self.state = self.state, None  # which takes as much memory as all that it is about
        if state is None:
            return Position()
        with intact(self.folder / CHECKPOINT, AGAIN):
            at = Position.from_dict(state["position"])
            best = (self.folder / BEST_WEIGHTS, self.folder / BEST_SAMPLES)
            if at.best is not None and not all(path.is_file() for path in best):
                return Position()  # without the best weights, that somebody removed, it would end without any
            for name, part in self._parts().items():
                part.load_state_dict(state[name])
            restore_random_states(state["random"])
        return replace(at, pruned="") if at.epoch <= self.passed else at

    def _parts(self) -> dict[str, Any]:
        """Everything whose state a run needs to go on as if it had never stopped."""
        learner = self.learner
        parts: dict[str, Any] = {
            "model": learner.model,
            "loss": learner.loss,
            "optimizer": learner.optimizer,
            "schedule": learner.schedule,
            "scaler": learner.scaler,
        }
        return parts if self.average is None else {**parts, "average": self.average}
