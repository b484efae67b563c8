"""GradNorm: learned weights that make the tasks train at similar rates.

Source: Chen et al. 2018, "GradNorm: gradient normalization for adaptive loss balancing", eq. 2 and algorithm 1.
Equation: w descends along L_grad = Σ_i | G_i - Ḡ r_i^α |, with G_i = w_i ||g_i||, Ḡ their mean, r_i = L̃_i / mean(L̃) and
L̃_i = L_i / L_i(0); Ḡ r_i^α counts as a constant; after each step w is scaled to sum to T, the number of tasks.
As in algorithm 1, w_i weighs the whole loss of a task, including its task-specific parameters.
Deviations: the descent is in v = ln w and on L_grad / Ḡ, so that w stays above 0 and the learning rate does not depend
on the unit of the losses: v_i <- v_i - lr sign(G_i - Ḡ r_i^α) G_i / Ḡ. Both forms have the fixed point
G_i = Ḡ r_i^α for all i; if no w satisfies it, because the mean of r^α is not 1, they may converge to different w.
Gradients are those of all shared parameters, not only of the last shared layer. L_i(0) is the first loss that is not 0.
A task whose loss or gradient is 0 is left out of the means and keeps its weight up to scaling. Losses must not be
below 0: nothing is learned from a negative one, and its weight is NaN.
"""

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from dmx.registry import Range, weightings
from dmx.weighting.kinds import GradientsOf, GradientWeighting


class GradNorm(GradientWeighting):
    """Weights learned from the gradient norms and from the relative decrease of each loss; all start at 1.

    Args:
        tasks: The names of the tasks.
        alpha: α.
        lr: Learning rate of v.
        gradients_of: Where the gradients are taken.
    """

    whole = True
    logarithmic = True

    v: Float[Tensor, "T"]
    first: Float[Tensor, "T"]

    def __init__(self, tasks: Sequence[str], alpha: float, lr: float, gradients_of: GradientsOf) -> None:
        super().__init__(tasks, gradients_of)
        self.alpha, self.lr = alpha, lr
        self.register_buffer("v", torch.zeros(len(self.tasks)))
        self.register_buffer("first", torch.zeros(len(self.tasks)))  # 0: none yet

    def solve(self, L: Float[Tensor, "T"], G: Float[Tensor, "T T"], finite: Bool[Tensor, ""]) -> Float[Tensor, "T"]:
        """Return the current weights w, then update them from this step."""
        w, usable = self.v.to(G.dtype).exp(), finite & (L >= 0).all()
        first = torch.where(usable & (self.first == 0), L, self.first.to(L.dtype))
        v = self.v - self.lr * self.slope(w, L, first, G)
        v = v - v.logsumexp(0) + math.log(len(self.tasks))  # Σ w = T
        self.v.copy_(torch.where(usable, v, self.v))
        self.first.copy_(first)
        return torch.where(L < 0, torch.nan, w)

    def slope(
        self, w: Float[Tensor, "T"], L: Float[Tensor, "T"], first: Float[Tensor, "T"], G: Float[Tensor, "T T"]
    ) -> Float[Tensor, "T"]:
        """∂(L_grad / Ḡ) / ∂v."""
        G_w = w * G.diagonal().sqrt()
        active = (G_w > 0) & (L != 0)
        n = active.sum().clamp(min=1)
        mean = (G_w * active).sum() / n
        ratio = torch.where(active, L / torch.where(active, first, 1.0), 0.0)  # L̃
        r = ratio / torch.where(active.any(), ratio.sum() / n, 1.0)
        slope = torch.sign(G_w - mean * r**self.alpha) * G_w / mean
        return torch.where(active, slope, 0.0)


@weightings.register("gradnorm", source="Chen et al. 2018, eq. 2 and algorithm 1", by="gradients")
def gradnorm(
    tasks: Sequence[str],
    *,
    alpha: Annotated[float, Field(ge=0, le=10), Range(0.1, 3.0)] = 1.5,
    lr: Annotated[float, Field(ge=0, le=1), Range(0.001, 0.3, log=True)] = 0.025,
    gradients_of: GradientsOf = "parameters",
) -> GradNorm:
    """GradNorm: gradient norms drawn to a common size, larger for the tasks that lag behind.

    Args:
        tasks: The names of the tasks.
        alpha: α, how strongly a task that lags behind is pulled; 0 asks for equal norms.
        lr: Learning rate of the weights' logarithms; at 0 they stay at 1.
        gradients_of: Take the gradients of shared parameters or of features.
    """
    return GradNorm(tasks, alpha, lr, gradients_of)
