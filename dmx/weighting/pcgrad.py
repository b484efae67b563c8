"""PCGrad: the component of each gradient that conflicts with another gradient is removed.

Source: Yu et al. 2020, "Gradient surgery for multi-task learning", algorithm 1.
Equation: for each task i, g_i' = g_i; then for the other tasks j in random order, where <g_i', g_j> < 0,
g_i' <- g_i' - <g_i', g_j> / ||g_j||² g_j. The update is d = Σ_i g_i'.
Deviations: none. It is computed on coefficients, g_i' = Σ_t C_it g_t, so that <g_i', g_j> = (C G)_ij.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dmx.registry import weightings
from dmx.weighting.kinds import GradientsOf, GradientWeighting


class PCGrad(GradientWeighting):
    """α_t = Σ_i C_it; a zero gradient conflicts with no other, and has weight 1."""

    def solve(self, L: Float[Tensor, "T"], G: Float[Tensor, "T T"], finite: Bool[Tensor, ""]) -> Float[Tensor, "T"]:
        """The weights α."""
        C = torch.eye(len(G), dtype=G.dtype, device=G.device)
        for i in range(len(G)):
            for j in torch.randperm(len(G)).tolist():
                if j != i:
                    conflict = (C[i] @ G[:, j]).clamp(max=0)
                    C[i, j] -= torch.where(conflict < 0, conflict / G[j, j], 0.0)
        return C.sum(0)


@weightings.register("pcgrad", source="Yu et al. 2020, algorithm 1", by="gradients")
def pcgrad(tasks: Sequence[str], *, gradients_of: GradientsOf = "parameters") -> PCGrad:
    """PCGrad: conflicting gradients are projected onto each other's normal plane.

    Args:
        tasks: The names of the tasks.
        gradients_of: Take the gradients of shared parameters or of features.
    """
    return PCGrad(tasks, gradients_of)
