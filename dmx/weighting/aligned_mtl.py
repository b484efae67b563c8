"""Aligned-MTL: the gradients are replaced by the nearest ones that are orthogonal and of equal norm.

Source: Senushkin et al. 2023, "Independent component alignment for multi-task learning" (CVPR).
Equation: for the matrix of gradients g = U Σ V^T the balanced ones are ĝ = σ U V^T = g B, σ the least singular value
above 0; by the eigenvalues λ of the Gram matrix G = V Λ V^T, B = √λ_min V Λ^(-1/2) V^T. The update is d = Σ_t ĝ_t, so
α_t = Σ_s B_ts, which may be below 0.
For two tasks, with s = √det G, B = adj(G + s I) / √(λ_max (tr G + 2 s)).
Deviations: none; all tasks have equal preference. As in the authors' code, eigenvalues that are 0 up to float32
rounding are left out: for parallel gradients, or if one is 0, only the common direction is scaled.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dmx.registry import weightings
from dmx.weighting.kinds import GradientsOf, GradientWeighting

EPSILON = torch.finfo(torch.float32).eps


class AlignedMtl(GradientWeighting):
    """The weights of the sum of the aligned gradients; 0 for a zero gradient."""

    def solve(self, L: Float[Tensor, "T"], G: Float[Tensor, "T T"], finite: Bool[Tensor, ""]) -> Float[Tensor, "T"]:
        """The weights α."""
        B = of_two(G) if len(G) == 2 else of_eigenvalues(G)
        return B.sum(1)


def of_two(G: Float[Tensor, "2 2"]) -> Float[Tensor, "2 2"]:
    """B for two tasks; unlike an eigenvalue decomposition, it does not wait for the device."""
    identity = torch.eye(2, dtype=G.dtype, device=G.device)
    det = (G[0, 0] * G[1, 1] - G[0, 1].square()).clamp(min=0)
    trace = G.trace()
    most = trace / 2 + (((G[0, 0] - G[1, 1]) / 2).square() + G[0, 1].square()).sqrt()  # λ_max
    s = det.sqrt()
    B = ((trace + s) * identity - G) / (most * (trace + 2 * s)).sqrt()
    rank_1 = det <= 2 * EPSILON * most.square()  # λ_min = det / λ_max
    return torch.where(most > 0, torch.where(rank_1, G / most, B), 0.0)


def of_eigenvalues(G: Float[Tensor, "T T"]) -> Float[Tensor, "T T"]:
    """B for any number of tasks."""
    lam, V = torch.linalg.eigh(G)
    kept = lam > len(G) * EPSILON * lam.max()
    least = torch.where(kept, lam, torch.inf).min()
    B: Tensor = (V * torch.where(kept, (least / lam).sqrt(), 0.0)) @ V.T
    return B


@weightings.register("aligned_mtl", source="Senushkin et al. 2023", by="gradients")
def aligned_mtl(tasks: Sequence[str], *, gradients_of: GradientsOf = "parameters") -> AlignedMtl:
    """Aligned-MTL: gradients made orthogonal and equally long before they are added.

    Args:
        tasks: The names of the tasks.
        gradients_of: Take the gradients of shared parameters or of features.
    """
    return AlignedMtl(tasks, gradients_of)
