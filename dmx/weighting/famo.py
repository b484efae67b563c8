"""Fast adaptive multitask optimization: balances tasks so that all log losses decrease at the same rate.

Source: Liu, Feng, Stone and Liu 2023, "FAMO: fast adaptive multitask optimization", algorithm 1, and the authors' code.
Equation: the network descends along Σ_i w_i ∇L_i, with w_i = c z_i / L_i, z = softmax(ξ), c = 1 / Σ_i (z_i / L_i);
then Adam (Kingma and Ba 2015) with the learning rate β takes a step in ξ along J^T δ + γ ξ, with
δ_i = ln L_i(t) - ln L_i(t+1) and J the Jacobian of z by ξ. The paper writes a plain step; Adam is in the authors' code,
whose β and γ are the defaults here.
Deviations: L_i(t+1) is the loss of the next step on its own batch, not of a second forward pass on the batch of step t:
half the cost, but δ also contains the difference between the batches, and ξ is updated one step later. A loss that is
exactly 0, for example if no depth is known, gets weight 0 and has no rate: its δ is left out of J^T δ, and with fewer
than two left ξ is unchanged; the authors add 1e-8 to every loss. ξ is not updated in a step with a loss that is not
finite (mixed precision skips such steps) or below 0; for a loss below 0 the total is NaN. The authors' code also clips
the gradient norm to 1, which here is the experiment's `training.clip_norm`. The total is Σ w_i L_i = c Σ z_i, summed
over the losses that are not 0.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from dmx.registry import Range, weightings
from dmx.weighting.kinds import LossWeighting

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
"""Adam's own constants."""


class Famo(LossWeighting):
    """Weights by the rates at which the losses fall; all start with z equal.

    Args:
        tasks: The names of the tasks.
        beta: Learning rate of ξ.
        gamma: Its decay.
    """

    xi: Float[Tensor, "K"]
    previous: Float[Tensor, "K"]
    m: Float[Tensor, "K"]
    v: Float[Tensor, "K"]
    steps: Float[Tensor, ""]

    logarithmic = True

    def __init__(self, tasks: Sequence[str], beta: float, gamma: float) -> None:
        super().__init__(tasks)
        self.beta, self.gamma = beta, gamma
        for name in ("xi", "previous", "m", "v"):
            self.register_buffer(name, torch.zeros(len(self.tasks)))  # a previous loss of 0: none yet
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, losses: Mapping[str, Tensor]) -> Float[Tensor, ""]:
        """Σ_i w_i L_i, after an update of ξ from the change since the last step."""
        L = self.stacked(losses)
        there = L.detach() != 0
        values = torch.where(there, L.detach(), torch.ones_like(L))
        self.learn(values, there)
        rates = torch.where(there, torch.softmax(self.xi, 0) / values, torch.zeros_like(values))
        c = 1 / torch.where(there.any(), rates.sum(), 1.0)
        w = torch.where((values > 0).all(), c * rates, torch.nan)
        self.keep(w)
        return (w * L).sum()

    def learn(self, L: Float[Tensor, "K"], there: Bool[Tensor, "K"]) -> None:
        """Adam's step in ξ along J^T δ + γ ξ, where J^T δ = z (δ - <z, δ>) over those whose δ is known, if two are."""
        usable = (L.isfinite() & (L > 0)).all()
        known = there & (self.previous != 0)
        delta = torch.where(known, torch.where(known, self.previous, torch.ones_like(L)).log() - L.log(), 0.0)
        z = torch.softmax(self.xi, 0) * known
        mean = (z * delta).sum() / torch.where(known.any(), z.sum(), 1.0)
        self.descend(z * (delta - mean) + self.gamma * self.xi, usable & (known.sum() > 1))
        self.previous.copy_(torch.where(there & usable, L, self.previous))

    def descend(self, slope: Float[Tensor, "K"], learns: Bool[Tensor, ""]) -> None:
        """One step of Adam where `learns` is true."""
        steps = self.steps + 1
        m = BETA_1 * self.m + (1 - BETA_1) * slope
        v = BETA_2 * self.v + (1 - BETA_2) * slope.square()
        step = m / (1 - BETA_1**steps) / ((v / (1 - BETA_2**steps)).sqrt() + EPSILON)
        after = (self.xi - self.beta * step, m, v, steps)
        for state, new in zip((self.xi, self.m, self.v, self.steps), after, strict=True):
            state.copy_(torch.where(learns, new, state))


@weightings.register("famo", source="Liu, Feng, Stone and Liu 2023, algorithm 1", by="losses")
def famo(
    tasks: Sequence[str],
    *,
    beta: Annotated[float, Field(ge=0, le=10), Range(0.001, 0.3, log=True)] = 0.025,
    gamma: Annotated[float, Field(ge=0, le=1), Range(1e-5, 0.1, log=True)] = 0.01,
) -> Famo:
    """FAMO: weights that make the logarithms of all losses fall at the same rate.

    Args:
        tasks: The names of the tasks.
        beta: β, the learning rate of Adam for the weights' logits; at 0 they stay.
        gamma: γ, how strongly the logits are drawn back to equal.
    """
    return Famo(tasks, beta, gamma)
