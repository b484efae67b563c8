"""Learning-rate schedules: the factor on the optimizer's learning rates as a function of the step.

Each returns a `LambdaLR` that is stepped once after every optimizer step; parameter groups keep the ratios of their
rates. torch's own classes do not fit: the state of `MultiStepLR` is not JSON-serialisable, `CosineAnnealingLR` rises
again after its end, `OneCycleLR` cannot be stepped past its end and divides by zero if `warmup` times the steps is 1,
and the relative threshold of `ReduceLROnPlateau` counts some worse values below 0 as better.
"""

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, cast

from pydantic import Field
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from dmx.registry import Range, schedules

Warmup = Annotated[float, Field(ge=0, lt=1)]
"""The share of all steps with linear learning-rate warm-up (Goyal et al. 2017, section 2.2)."""

Share = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True)
class Timeline:
    """When the epochs of a run end; stages may have different numbers of steps in an epoch.

    Attributes:
        epoch_ends: The number of optimizer steps done at the end of each epoch, increasing.

    Raises:
        ValueError: There is no epoch, or one without steps.
    """

    epoch_ends: tuple[int, ...]

    def __post_init__(self) -> None:
        steps = [end - start for start, end in zip((0, *self.epoch_ends), self.epoch_ends, strict=False)]
        if not steps or min(steps) < 1:
            raise ValueError(
                f"`epoch_ends` must rise from above 0, but got {self.epoch_ends}; each epoch needs a step."
            )

    @property
    def total(self) -> int:
        """The optimizer steps of the whole run."""
        return self.epoch_ends[-1]

    def rising(self, warmup: float) -> int:
        """The number of steps of a warm-up that takes this share of the run."""
        return round(warmup * self.total)

    def progress(self, step: int, warmup: float) -> float:
        """From 0 at the end of the warm-up to 1 at the end of the run, and 1 after that."""
        rising = self.rising(warmup)
        return min(1.0, (step - rising) / max(1, self.total - rising))

    def epoch(self, step: int) -> int:
        """The epoch, counted from 0, of the next step after `step` steps are done."""
        return bisect_right(self.epoch_ends, step)


def scheduled(
    optimizer: Optimizer, timeline: Timeline, factor: Callable[[int], float], warmup: float = 0.0
) -> LRScheduler:
    """Create a schedule: linear warm-up, then `factor(step)` on the learning rates after `step` steps are done."""
    rising = timeline.rising(warmup)
    return LambdaLR(optimizer, lambda step: (step + 1) / (rising + 1) if step < rising else factor(step))


def cosine_between(start: float, end: float, progress: float) -> float:
    """Half a cosine from `start` to `end` for progress from 0 to 1; `end` after that."""
    return end + (start - end) * (1 + math.cos(math.pi * min(progress, 1.0))) / 2


@schedules.register("cosine", source="Loshchilov and Hutter 2017, eq. 5; warm-up: Goyal et al. 2017, section 2.2")
def cosine(
    optimizer: Optimizer,
    timeline: Timeline,
    *,
    warmup: Annotated[Warmup, Range(0.0, 0.2)] = 0.0,
    floor: Share = 0.0,
) -> LRScheduler:
    """Half a cosine from the learning rate down to its `floor`, after a straight rise.

    Args:
        optimizer: Whose learning rate.
        timeline: How long the run is.
        warmup: The share of all steps in which the learning rate rises.
        floor: The share of the learning rate that is left at the end.
    """
    return scheduled(
        optimizer, timeline, lambda step: cosine_between(1.0, floor, timeline.progress(step, warmup)), warmup
    )


@schedules.register("cosine_restarts", source="Loshchilov and Hutter 2017 (SGDR), section 3")
def cosine_restarts(
    optimizer: Optimizer,
    timeline: Timeline,
    *,
    cycles: Annotated[int, Field(ge=1, le=100), Range(2, 5)] = 3,
    growth: Annotated[float, Field(ge=1, le=10), Range(1.0, 2.0)] = 2.0,
    floor: Share = 0.0,
    warmup: Warmup = 0.0,
) -> LRScheduler:
    """Cosines one after the other, each from the learning rate down to its `floor`; the last ends with the run.

    Args:
        optimizer: Whose learning rate.
        timeline: How long the run is.
        cycles: How many cosines.
        growth: How many times as long as the one before each is.
        floor: The share of the learning rate at the end of each.
        warmup: The share of all steps in which the learning rate rises.
    """
    lengths = [growth**k for k in range(cycles)]
    starts = [sum(lengths[:k]) / sum(lengths) for k in range(cycles + 1)]

    def factor(step: int) -> float:
        progress = timeline.progress(step, warmup)
        k = min(bisect_right(starts, progress), cycles) - 1
        return cosine_between(1.0, floor, (progress - starts[k]) / (starts[k + 1] - starts[k]))

    return scheduled(optimizer, timeline, factor, warmup)


@schedules.register("one_cycle", source="Smith and Topin 2019; defaults of torch.optim.lr_scheduler.OneCycleLR")
def one_cycle(
    optimizer: Optimizer,
    timeline: Timeline,
    *,
    warmup: Annotated[Warmup, Range(0.1, 0.5)] = 0.3,
    start: Annotated[float, Field(gt=0, le=1)] = 0.04,
    end: Annotated[float, Field(gt=0, le=1)] = 4e-6,
) -> LRScheduler:
    """Up to the learning rate and far down again, both along half a cosine; the momentum stays as it is.

    Args:
        optimizer: Whose learning rate; it is the peak.
        timeline: How long the run is.
        warmup: The share of all steps in which the learning rate rises.
        start: The share of the peak at the first step.
        end: The share of the peak at the last step.
    """
    last = max(1, timeline.total - 1)
    peak = warmup * timeline.total - 1  # as in torch, which counts the first step as 0

    def factor(step: int) -> float:
        if step < peak:
            return cosine_between(start, 1.0, step / peak)
        return cosine_between(1.0, end, (step - max(peak, 0)) / (last - max(peak, 0)))

    return scheduled(optimizer, timeline, factor)


@schedules.register("constant", source="No schedule; warm-up: Goyal et al. 2017, section 2.2")
def constant(optimizer: Optimizer, timeline: Timeline, *, warmup: Warmup = 0.0) -> LRScheduler:
    """The optimizer's learning rate, unchanged.

    Args:
        optimizer: Whose learning rate.
        timeline: How long the run is.
        warmup: The share of all steps in which the learning rate rises.
    """
    return scheduled(optimizer, timeline, lambda step: 1.0, warmup)


@schedules.register("step", source="Step decay; torch.optim.lr_scheduler.StepLR")
def step_decay(
    optimizer: Optimizer,
    timeline: Timeline,
    *,
    gamma: Annotated[float, Field(gt=0, le=1), Range(0.01, 0.9, log=True)] = 0.1,
    every: Annotated[int, Field(ge=1)] = 1,
    warmup: Warmup = 0.0,
) -> LRScheduler:
    """Learning rate times `gamma` after every so many epochs.

    Args:
        optimizer: Whose learning rate.
        timeline: When epochs end.
        gamma: The factor.
        every: Epochs between two cuts.
        warmup: The share of all steps in which the learning rate rises.
    """
    return scheduled(optimizer, timeline, lambda step: gamma ** (timeline.epoch(step) // every), warmup)


@schedules.register("multi_step", source="He et al. 2016, section 4.2 (cuts at a half and three quarters)")
def multi_step(
    optimizer: Optimizer,
    timeline: Timeline,
    *,
    gamma: Annotated[float, Field(gt=0, le=1), Range(0.05, 0.5, log=True)] = 0.1,
    first: Annotated[Share, Range(0.3, 0.7)] = 0.5,
    second: Annotated[Share, Range(0.7, 0.95)] = 0.75,
    warmup: Warmup = 0.0,
) -> LRScheduler:
    """Learning rate times `gamma` at two points of the run.

    Args:
        optimizer: Whose learning rate.
        timeline: How long the run is.
        gamma: The factor.
        first: The share of all steps after which it is cut for the first time.
        second: The share after which it is cut again.
        warmup: The share of all steps in which the learning rate rises.
    """
    cuts = [round(share * timeline.total) for share in (first, second)]
    return scheduled(optimizer, timeline, lambda step: gamma ** sum(step >= cut for cut in cuts), warmup)


@schedules.register("exponential", source="Exponential decay; torch.optim.lr_scheduler.ExponentialLR")
def exponential(
    optimizer: Optimizer,
    timeline: Timeline,
    *,
    end: Annotated[float, Field(gt=0, le=1), Range(1e-3, 0.3, log=True)] = 0.01,
    warmup: Annotated[Warmup, Range(0.0, 0.2)] = 0.0,
) -> LRScheduler:
    """The same factor at each step, down to a share of the learning rate.

    Args:
        optimizer: Whose learning rate.
        timeline: How long the run is.
        end: The share of the learning rate that is left at the end.
        warmup: The share of all steps in which the learning rate rises.
    """
    return scheduled(optimizer, timeline, lambda step: end ** timeline.progress(step, warmup), warmup)


@schedules.register("polynomial", source="Chen et al. 2017 (DeepLab), section 4.1")
def polynomial(
    optimizer: Optimizer,
    timeline: Timeline,
    *,
    power: Annotated[float, Field(gt=0, le=10), Range(0.5, 2.0)] = 0.9,
    warmup: Annotated[Warmup, Range(0.0, 0.2)] = 0.0,
) -> LRScheduler:
    """A power of what is left of the run, down to 0; power 1 is a straight line.

    Args:
        optimizer: Whose learning rate.
        timeline: How long the run is.
        power: The exponent.
        warmup: The share of all steps in which the learning rate rises.
    """
    return scheduled(optimizer, timeline, lambda step: (1 - timeline.progress(step, warmup)) ** power, warmup)


class Plateau:
    """The factor of `plateau`; its attributes are plain numbers, so that the schedule's state includes them.

    Args:
        gamma: The factor is multiplied by this.
        patience: Epochs without improvement before that.
        threshold: A value is better if it is lower by this share of the best value's magnitude.
    """

    def __init__(self, gamma: float, patience: int, threshold: float) -> None:
        self.gamma, self.patience, self.threshold = gamma, patience, threshold
        self.factor = 1.0
        self.best: float | None = None
        self.waited = 0

    def __call__(self, step: int) -> float:
        """The factor; the same at every step of an epoch."""
        return self.factor

    def observe(self, value: float) -> None:
        """Update the factor with the value of an epoch."""
        if self.best is None or value < self.best - self.threshold * abs(self.best):
            self.best, self.waited = value, 0
        elif self.waited < self.patience:
            self.waited += 1
        else:
            self.factor, self.waited = self.factor * self.gamma, 0


class PlateauLR(LambdaLR):
    """A schedule that depends on validation."""

    def epoch_ended(self, value: float) -> None:
        """Update after an epoch with its value of the objective, negated if higher is better."""
        cast("Plateau", self.lr_lambdas[0]).observe(value)  # all groups share it
        for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = base * self.lr_lambdas[0](self.last_epoch)  # effective from the next step, not one step later


@schedules.register("plateau", source="torch.optim.lr_scheduler.ReduceLROnPlateau")
def plateau(
    optimizer: Optimizer,
    timeline: Timeline,
    *,
    gamma: Annotated[float, Field(gt=0, lt=1), Range(0.1, 0.5, log=True)] = 0.1,
    patience: Annotated[int, Field(ge=0, le=1000), Range(1, 10)] = 5,
    threshold: Annotated[float, Field(ge=0, lt=1)] = 1e-4,
) -> LRScheduler:
    """Learning rate times `gamma` when the objective has not become better for longer than so many epochs.

    Args:
        optimizer: Whose learning rate.
        timeline: How long the run is.
        gamma: The factor.
        patience: Epochs without a better value that are put up with.
        threshold: How much better is better, as a share of the best value.
    """
    return PlateauLR(optimizer, Plateau(gamma, patience, threshold))
