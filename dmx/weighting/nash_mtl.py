"""Nash-MTL: the update is the Nash bargaining solution between the tasks.

Source: Navon et al. 2022, "Multi-task learning as a bargaining game", algorithm 1, and the authors' code.
Equation: maximise Σ_t ln <g_t, d> over a ball; then d = Σ_t α_t g_t with α > 0 and G α = 1/α.
For two tasks α_t = 1 / (||g_t|| √(1 + ρ)), ρ the cosine between the gradients. For more, with β_t = α_t ||g_t|| and
R the matrix of cosines, R β = 1/β: the minimum of the convex ½ β^T R β - Σ ln β_t, by damped Newton steps.
As in the authors' code, α_t weighs the whole loss of a task, including its task-specific parameters, and G is divided
by its Frobenius norm, so that α does not depend on a common scale of the gradients.
Deviations: the equation is solved exactly and in every step, not by a sequence of convex problems every few steps; the
authors' code also clips the gradient norm to 1, which here is the experiment's `training.clip_norm`. The diagonal of
R is 1 + ε: opposite gradients (ρ = -1) have no solution; as ρ approaches -1, α grows to 1/√ε while d shrinks to 0
instead of becoming noise. A task whose gradient is exactly 0 cannot improve: it is left out, with weight 0.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dmx.registry import weightings
from dmx.weighting.kinds import GradientsOf, GradientWeighting

EPSILON = 1e-6
STEPS = 30  # of Newton


class NashMtl(GradientWeighting):
    """The weights of the bargaining solution."""

    whole = True

    def solve(self, L: Float[Tensor, "T"], G: Float[Tensor, "T T"], finite: Bool[Tensor, ""]) -> Float[Tensor, "T"]:
        """The weights α."""
        norms = G.diagonal().clamp(min=0).sqrt()
        there = norms > 0
        scale = torch.where(there, 1 / norms, 0.0)
        R = (scale[:, None] * G * scale).clamp(-1, 1)
        R = R - R.diagonal().diag() + (1 + EPSILON) * torch.eye(len(G), dtype=G.dtype, device=G.device)
        beta = (R[0].sum() ** -0.5).expand(2) if len(G) == 2 else newton(R)
        alpha: Tensor = beta * scale * torch.linalg.matrix_norm(G).sqrt()
        return alpha


def newton(R: Float[Tensor, "T T"]) -> Float[Tensor, "T"]:
    """The β > 0 with R β = 1/β, R positive definite.

    ½ β^T R β - Σ ln β_t is self-concordant: Newton steps divided by 1 + λ, with λ their length in the Hessian norm,
    keep β > 0 and converge from any start (Nesterov and Nemirovskii 1994).
    """
    beta = torch.ones_like(R[0])
    for _ in range(STEPS):
        slope = R @ beta - 1 / beta
        step = torch.linalg.solve_ex(R + beta.pow(-2).diag(), slope).result
        beta = beta - step / (1 + (slope @ step).clamp(min=0).sqrt())
    return beta


@weightings.register("nash_mtl", source="Navon et al. 2022, algorithm 1", by="gradients")
def nash_mtl(tasks: Sequence[str], *, gradients_of: GradientsOf = "parameters") -> NashMtl:
    """Nash-MTL: the update that maximises the product of the tasks' gains.

    Args:
        tasks: The names of the tasks.
        gradients_of: Take the gradients of shared parameters or of features.
    """
    return NashMtl(tasks, gradients_of)
