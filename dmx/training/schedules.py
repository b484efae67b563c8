"""Learning-rate schedules: the factor on the optimizer's learning rate as a function of the step.

Each returns a `LambdaLR` that is stepped once after every optimizer step. torch's own classes do not fit:
`MultiStepLR` has a state that JSON cannot hold, `CosineAnnealingLR` rises again after its end, `OneCycleLR` refuses
to be stepped past its end and divides by zero where `warmup` times the steps is 1.
"""

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from dmx.registry import Range, schedules

WarmupFraction = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True)
class Timeline:
    """When the epochs of a run end; stages may have different numbers of steps in an epoch.

    Attributes:
        epoch_ends: The optimizer steps that are done at the end of each epoch, rising.

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

    def epoch(self, step: int) -> int:
        """The epoch, counted from 0, that the step after `step` done ones belongs to."""
        return bisect_right(self.epoch_ends, step)


def scheduled(optimizer: Optimizer, factor: Callable[[int], float]) -> LRScheduler:
    """The schedule with the given factor on the learning rate after `step` done steps."""
    return LambdaLR(optimizer, factor)


def cosine_between(start: float, end: float, progress: float) -> float:
    """Half a cosine from `start` to `end` for progress from 0 to 1; `end` after that."""
    return end + (start - end) * (1 + math.cos(math.pi * min(progress, 1.0))) / 2


@schedules.register("constant", source="No schedule")
def constant(optimizer: Optimizer, timeline: Timeline) -> LRScheduler:
    """The optimizer's learning rate, unchanged."""
    return scheduled(optimizer, lambda step: 1.0)


@schedules.register("step", source="Step decay; He et al. 2016, section 3.4")
def step_decay(
    optimizer: Optimizer,
    timeline: Timeline,
    *,
    gamma: Annotated[float, Field(gt=0, le=1), Range(0.01, 0.9, log=True)] = 0.1,
    every: Annotated[int, Field(ge=1)] = 1,
) -> LRScheduler:
    """Learning rate times `gamma` after every so many epochs.

    Args:
        optimizer: Whose learning rate.
        timeline: When epochs end.
        gamma: The factor.
        every: Epochs between two cuts.
    """
    return scheduled(optimizer, lambda step: gamma ** (timeline.epoch(step) // every))


@schedules.register("cosine", source="Loshchilov and Hutter 2017, eq. 5; warm-up: Goyal et al. 2017, section 2.2")
def cosine(
    optimizer: Optimizer,
    timeline: Timeline,
    *,
    warmup: Annotated[WarmupFraction, Range(0.0, 0.2)] = 0.0,
    floor: Annotated[float, Field(ge=0, lt=1)] = 0.0,
) -> LRScheduler:
    """Half a cosine from the learning rate down to its `floor`, after a straight rise.

    Args:
        optimizer: Whose learning rate.
        timeline: How long the run is.
        warmup: The share of all steps in which the learning rate rises.
        floor: The share of the learning rate that is left at the end.
    """
    rising = round(warmup * timeline.total)

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        return cosine_between(1.0, floor, (step - rising) / max(1, timeline.total - rising))

    return scheduled(optimizer, factor)


@schedules.register("one_cycle", source="Smith and Topin 2019; defaults of torch.optim.lr_scheduler.OneCycleLR")
def one_cycle(
    optimizer: Optimizer,
    timeline: Timeline,
    *,
    warmup: Annotated[WarmupFraction, Range(0.1, 0.5)] = 0.3,
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

    return scheduled(optimizer, factor)
