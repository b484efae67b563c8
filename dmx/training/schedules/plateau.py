"""A learning rate that falls where validation no longer becomes better."""

from typing import Annotated, cast

from pydantic import Field
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from dmx.registry import Range, schedules
from dmx.training.schedules.timeline import Timeline


class Plateau:
    """The factor of `plateau`: all of it is plain numbers, so that the schedule's state holds it.

    Args:
        gamma: What it is multiplied by.
        patience: Epochs without a better value before that.
        threshold: A value is better if it is lower by this share of the best one's size.
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
        """Take in the value of an epoch."""
        if self.best is None or value < self.best - self.threshold * abs(self.best):
            self.best, self.waited = value, 0
        elif self.waited < self.patience:
            self.waited += 1
        else:
            self.factor, self.waited = self.factor * self.gamma, 0


class PlateauLR(LambdaLR):
    """A schedule that is told how validation went."""

    def epoch_ended(self, value: float) -> None:
        """An epoch ended in this value of the objective, turned so that lower is better."""
        cast("Plateau", self.lr_lambdas[0]).observe(value)  # all groups share it
        for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = base * self.lr_lambdas[0](self.last_epoch)  # from the next step on, not the one after it


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
