"""When a run's epochs end, its warm-up, and how a factor becomes a schedule."""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

Warmup = Annotated[float, Field(ge=0, lt=1)]
"""The share of all steps in which the learning rate rises in a straight line (Goyal et al. 2017, section 2.2)."""

Share = Annotated[float, Field(ge=0, lt=1)]


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

    def rising(self, warmup: float) -> int:
        """The steps of a warm-up that is this share of the run."""
        return round(warmup * self.total)

    def progress(self, step: int, warmup: float) -> float:
        """From 0 at the end of the warm-up to 1 at the end of the run, and 1 after that."""
        rising = self.rising(warmup)
        return min(1.0, (step - rising) / max(1, self.total - rising))

    def epoch(self, step: int) -> int:
        """The epoch, counted from 0, that the step after `step` done ones belongs to."""
        return bisect_right(self.epoch_ends, step)


def scheduled(
    optimizer: Optimizer, timeline: Timeline, factor: Callable[[int], float], warmup: float = 0.0
) -> LRScheduler:
    """The schedule with the given factor on the learning rates after `step` done steps, when the warm-up is over."""
    rising = timeline.rising(warmup)
    return LambdaLR(optimizer, lambda step: (step + 1) / (rising + 1) if step < rising else factor(step))
