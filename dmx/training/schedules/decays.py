"""Learning rates that only fall, after a warm-up."""

from typing import Annotated

from pydantic import Field
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from dmx.registry import Range, schedules
from dmx.training.schedules.timeline import Share, Timeline, Warmup, scheduled


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
