"""Multiple gradient descent: the shortest vector in the convex hull of the gradients.

Source: Sener and Koltun 2018, "Multi-task learning as multi-objective optimization", algorithms 1 and 2.
Equation: α = argmin || Σ_t α_t g_t ||², α_t >= 0, Σ α_t = 1. For two tasks α_1 = <g_2 - g_1, g_2> / ||g_1 - g_2||²,
clamped to [0, 1]; for more, Frank-Wolfe: α moves towards the task t with the least (G α)_t, by the best step in [0, 1].
Deviations: a task whose gradient is exactly 0 is left out, as it would make d = 0 and stop the others. The gradients
are not normalised beforehand, which is an option of the authors' code. Task-specific parameters are updated along their
own gradient, as in algorithm 2; the authors' code also weighs them by α_t.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dmx.registry import weightings
from dmx.weighting.kinds import GradientsOf, GradientWeighting

STEPS = 250  # of Frank-Wolfe, as in the authors' code


class Mgda(GradientWeighting):
    """The weights of the minimum-norm point; they sum to 1."""

    def solve(self, L: Float[Tensor, "T"], G: Float[Tensor, "T T"], finite: Bool[Tensor, ""]) -> Float[Tensor, "T"]:
        """The weights α; equal where all gradients are 0."""
        there = G.diagonal() > 0
        there = there | ~there.any()
        equal = there / there.sum()
        if len(G) == 2:
            return torch.where(there.all(), of_two(G), equal.to(G.dtype))
        return frank_wolfe(G, equal.to(G.dtype))


def of_two(G: Float[Tensor, "2 2"]) -> Float[Tensor, "2"]:
    """The exact solution for two tasks; equal weights for equal gradients."""
    gap = G[0, 0] - 2 * G[0, 1] + G[1, 1]
    x = torch.where(gap > 0, (G[1, 1] - G[0, 1]) / gap, 0.5).clamp(0, 1)
    return torch.stack([x, 1 - x])


def frank_wolfe(G: Float[Tensor, "T T"], start: Float[Tensor, "T"]) -> Float[Tensor, "T"]:
    """The solution for any number of tasks, restricted to tasks with weight in `start`."""
    alpha, index = start, torch.arange(len(G), device=G.device)
    for _ in range(STEPS):
        slope = G @ alpha
        best = torch.where(start > 0, slope, torch.inf).argmin()
        move = (index == best).to(G.dtype) - alpha
        bend = move @ G @ move
        alpha = alpha + torch.where(bend > 0, -(move @ slope) / bend, 0.0).clamp(0, 1) * move
    return alpha


@weightings.register("mgda", source="Sener and Koltun 2018, algorithms 1 and 2", by="gradients")
def mgda(tasks: Sequence[str], *, gradients_of: GradientsOf = "parameters") -> Mgda:
    """MGDA: the shortest combination of the gradients, which no task objects to.

    Args:
        tasks: The names of the tasks.
        gradients_of: Take the gradients of shared parameters or of features (MGDA-UB).
    """
    return Mgda(tasks, gradients_of)
