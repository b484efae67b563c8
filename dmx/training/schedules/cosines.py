"""Learning rates along half cosines."""

import math
from bisect import bisect_right
from typing import Annotated

from pydantic import Field
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from dmx.registry import Range, schedules
from dmx.training.schedules.timeline import Share, Timeline, Warmup, scheduled


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
