"""Dynamic weight average: tasks whose losses decrease slowly get higher weights.

Source: Liu, Johns and Davison 2019, "End-to-end multi-task learning with attention", eq. 7.
Equation: λ_k = K e^(w_k / T) / Σ_i e^(w_i / T), with w_k = L_k(t-1) / L_k(t-2) of the mean losses of the last two
epochs and w_k = 1 in the first two.
Deviations: w_k = 1 also if L_k(t-2) is 0, as that loss cannot decrease. Steps with a loss that is not finite (mixed
precision skips them) do not count for the mean.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from dmx.registry import Range, weightings
from dmx.weighting.kinds import LossWeighting


class DynamicWeightAverage(LossWeighting):
    """Weights that are constant within an epoch and sum to K, the number of tasks; T is the temperature."""

    sums: Float[Tensor, "K"]
    steps: Float[Tensor, ""]
    newer: Float[Tensor, "K"]
    w: Float[Tensor, "K"]

    divides = True

    def __init__(self, tasks: Sequence[str], T: float) -> None:
        super().__init__(tasks)
        self.T = T
        self.register_buffer("sums", torch.zeros(len(self.tasks)))
        self.register_buffer("steps", torch.zeros(()))
        self.register_buffer("newer", torch.zeros(len(self.tasks)))  # 0: no epoch has been yet
        self.register_buffer("w", torch.ones(len(self.tasks)))

    def forward(self, losses: Mapping[str, Tensor]) -> Float[Tensor, ""]:
        """Σ_k λ_k L_k; the losses are also added to the epoch's mean."""
        L = self.stacked(losses)
        finite = L.detach().isfinite().all()
        self.sums.add_(torch.where(finite, L.detach(), torch.zeros_like(L)))
        self.steps.add_(finite)
        lam = len(self.tasks) * torch.softmax(self.w / self.T, 0)
        self.keep(lam)
        return (lam * L).sum()

    def epoch_ended(self) -> None:
        """Update the weights from the mean losses of the last two epochs; an epoch without steps changes nothing."""
        stepped = self.steps > 0
        means = torch.where(stepped, self.sums / self.steps, self.newer)
        older = self.newer.clone()
        w = torch.where(older != 0, means / older, torch.ones_like(means))
        self.w.copy_(torch.where(stepped, w, self.w))
        self.newer.copy_(means)
        self.sums.zero_()
        self.steps.zero_()


@weightings.register("dwa", source="Liu, Johns and Davison 2019, eq. 7", by="losses")
def dwa(
    tasks: Sequence[str], *, temperature: Annotated[float, Field(ge=0.05, le=100), Range(0.5, 10.0, log=True)] = 2.0
) -> DynamicWeightAverage:
    """Dynamic weight average: the loss that fell least from epoch to epoch weighs most.

    Args:
        tasks: The names of the tasks.
        temperature: T; the higher, the more equal the weights.
    """
    return DynamicWeightAverage(tasks, temperature)
