"""CAGrad: the update near the mean gradient that maximises the smallest improvement of a task.

Source: Liu et al. 2021, "Conflict-averse gradient descent for multi-task learning", algorithm 1.
Equation: d = argmax min_t <g_t, d> over ||d - g_0|| <= c ||g_0||, with g_0 the mean of the K gradients. Its dual gives
w = argmin F(w) = <g_w, g_0> + k ||g_w||, g_w = Σ_t w_t g_t, k = c ||g_0||, over w_t >= 0, Σ w_t = 1; then
d = g_0 + k / ||g_w|| g_w, so α_t = 1/K + k w_t / ||g_w||.
Deviations: d is not rescaled afterwards, which is an option of the authors' code. A single task has weight 1.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from dmx.registry import Range, weightings
from dmx.weighting.kinds import GradientsOf, GradientWeighting

STEPS = 300  # of projected descent for more than two tasks


class CAGrad(GradientWeighting):
    """The weights of CAGrad's update; if a gradient is 0, its task cannot improve, and the update is close to g_0.

    Args:
        tasks: The names of the tasks.
        c: How far d may be from g_0, relative to its norm.
        gradients_of: Where the gradients are taken.
    """

    def __init__(self, tasks: Sequence[str], c: float, gradients_of: GradientsOf) -> None:
        super().__init__(tasks, gradients_of)
        self.c = c

    def solve(self, L: Float[Tensor, "K"], G: Float[Tensor, "K K"], finite: Bool[Tensor, ""]) -> Float[Tensor, "K"]:
        """The weights α."""
        K = len(G)
        if K == 1:
            return torch.ones_like(L)
        k = self.c * G.mean().clamp(min=0).sqrt()  # G.mean() = ||g_0||²
        w = of_two(G, k) if K == 2 else descend(G, k)
        norm = (w @ G @ w).clamp(min=0).sqrt()
        return 1 / K + torch.where(norm > 0, k / norm, 0.0) * w


def of_two(G: Float[Tensor, "2 2"], k: Float[Tensor, ""]) -> Float[Tensor, "2"]:
    """The exact w = (x, 1 - x): where F'(x) = l + k u / ||g_w|| = 0, with ||g_w||² = (u² + Δ) / a, or at an end.

    Here a = ||g_1 - g_2||², u = a x + b, b = <g_1 - g_2, g_2>, l = <g_1 - g_2, g_0>, and Δ is the determinant of G.
    """
    a = G[0, 0] - 2 * G[0, 1] + G[1, 1]
    b = G[0, 1] - G[1, 1]
    slope = (G[0, 0] - G[1, 1]) / 2  # l
    det = (G[0, 0] * G[1, 1] - G[0, 1].square()).clamp(min=0)
    room = k.square() * a - slope.square()  # if not above 0, F is monotonic
    u = -slope * (det / room).sqrt()
    x = torch.where(room > 0, (u - b) / a, (slope < 0).to(G.dtype)).clamp(0, 1)
    x = torch.where(a > 0, x, 0.5)
    return torch.stack([x, 1 - x])


def descend(G: Float[Tensor, "K K"], k: Float[Tensor, ""]) -> Float[Tensor, "K"]:
    """The w by projected descent, for any number of tasks.

    As ||g_w|| <= (||g_w||² / s + s) / 2 with equality at s = ||g_w||, F is bounded above by a parabola of curvature
    k λ / s, with λ the largest eigenvalue of G or a bound on it: a step to the parabola's minimum never increases F.
    With Nesterov momentum 300 steps suffice; the momentum is restarted when F would increase.
    """
    w = y = torch.full_like(G[0], 1 / len(G))
    t, bound = torch.ones_like(k), G.abs().sum(0).max()
    for _ in range(STEPS):
        s = (y @ G @ y).clamp(min=0).sqrt()
        slope = G.mean(0) + torch.where(s > 0, k / s, 0.0) * (G @ y)
        step = s / (k * bound)
        new = onto_simplex(torch.where(step.isfinite(), y - step * slope, y))
        better = dual(new, G, k) <= dual(w, G, k)
        t_new = (1 + (1 + 4 * t.square()).sqrt()) / 2
        y = torch.where(better, new + (t - 1) / t_new * (new - w), w)
        w, t = torch.where(better, new, w), torch.where(better, t_new, 1.0)
    return w


def dual(w: Float[Tensor, "K"], G: Float[Tensor, "K K"], k: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """F(w)."""
    return w @ G.mean(0) + k * (w @ G @ w).clamp(min=0).sqrt()


def onto_simplex(v: Float[Tensor, "K"]) -> Float[Tensor, "K"]:
    """The nearest w with w_t >= 0 and Σ w_t = 1 (Duchi et al. 2008, figure 1)."""
    ordered = v.sort(descending=True).values
    rank = torch.arange(1, len(v) + 1, device=v.device)
    theta = ((ordered.cumsum(0) - 1) / rank).max()
    return (v - theta).clamp(min=0)


@weightings.register("cagrad", source="Liu et al. 2021, algorithm 1", by="gradients")
def cagrad(
    tasks: Sequence[str],
    *,
    c: Annotated[float, Field(ge=0, lt=1), Range(0.1, 0.9)] = 0.4,
    gradients_of: GradientsOf = "parameters",
) -> CAGrad:
    """CAGrad: the mean gradient, bent towards the task that it serves worst.

    Args:
        tasks: The names of the tasks.
        c: How far it may be bent; at 0 it is the mean gradient.
        gradients_of: Take the gradients of shared parameters or of features.
    """
    return CAGrad(tasks, c, gradients_of)
