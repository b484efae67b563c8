"""Fast adaptive multitask optimization: the logarithms of all losses should fall at the same rate.

Source: Liu, Feng, Stone and Liu 2023, "FAMO: fast adaptive multitask optimization", algorithm 1.
Equation: the network descends along Σ_i w_i ∇L_i, with w_i = c z_i / L_i, z = softmax(ξ), c = 1 / Σ_i (z_i / L_i);
then ξ <- ξ - β (J^T δ + γ ξ), with δ_i = ln L_i(t) - ln L_i(t+1) and J the Jacobian of z by ξ.
Deviations: L_i(t+1) is the loss of the next step on its own batch, not of a second forward pass on the batch of step t:
half the cost, but δ also holds how the batches differ, and ξ comes one step later. ξ descends as in algorithm 1; the
authors' code does it with Adam. A loss that is exactly 0, as where no depth is known, gets weight 0 and says nothing of
its rate; losses must not be below 0. From a step with a loss that is not finite (mixed precision leaves it out) ξ does
not learn. The total is Σ w_i L_i, which is c times the sum of their z.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from dmx.registry import Range, weightings
from dmx.weighting.kinds import LossWeighting


class Famo(LossWeighting):
    """Weights by the rates at which the losses fall; all start with z equal.

    Args:
        tasks: The names of the tasks.
        beta: Learning rate of ξ.
        gamma: Its decay.
    """

    xi: Float[Tensor, "K"]
    previous: Float[Tensor, "K"]

    def __init__(self, tasks: Sequence[str], beta: float, gamma: float) -> None:
        super().__init__(tasks)
        self.beta, self.gamma = beta, gamma
        self.register_buffer("xi", torch.zeros(len(self.tasks)))
        self.register_buffer("previous", torch.zeros(len(self.tasks)))  # 0: none yet

    def forward(self, losses: Mapping[str, Tensor]) -> Float[Tensor, ""]:
        """Σ_i w_i L_i, after ξ has learned from the change since the last step."""
        L = self.stacked(losses)
        there = L.detach() != 0
        values = torch.where(there, L.detach(), torch.ones_like(L))
        self.learn(values, there)
        rates = torch.where(there, torch.softmax(self.xi, 0) / values, torch.zeros_like(values))
        c = 1 / torch.where(there.any(), rates.sum(), 1.0)
        w = c * rates
        self.keep(w)
        return (w * L).sum()

    def learn(self, L: Float[Tensor, "K"], there: Bool[Tensor, "K"]) -> None:
        """ξ <- ξ - β (J^T δ + γ ξ), where J^T δ = z (δ - <z, δ>); nothing where a loss is not finite."""
        finite = L.isfinite().all()
        known = there & (self.previous != 0)
        delta = torch.where(known, torch.where(known, self.previous, torch.ones_like(L)).log() - L.log(), 0.0)
        z = torch.softmax(self.xi, 0)
        change = z * (delta - (z * delta).sum()) + self.gamma * self.xi
        self.xi.sub_(torch.where(finite, self.beta * change, 0.0))
        self.previous.copy_(torch.where(there & finite, L, self.previous))


@weightings.register("famo", source="Liu, Feng, Stone and Liu 2023, algorithm 1", by="losses")
def famo(
    tasks: Sequence[str],
    *,
    beta: Annotated[float, Field(ge=0, le=10), Range(0.001, 1.0, log=True)] = 0.025,
    gamma: Annotated[float, Field(ge=0, le=1), Range(1e-5, 0.1, log=True)] = 0.01,
) -> Famo:
    """FAMO: weights that make the logarithms of all losses fall at the same rate.

    Args:
        tasks: The names of the tasks.
        beta: β, the learning rate of the weights' logits; at 0 they stay.
        gamma: γ, how strongly the logits are drawn back to equal.
    """
    return Famo(tasks, beta, gamma)
