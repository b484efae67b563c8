"""Impartial multi-task learning (loss balance): every weighted loss is driven towards 1.

Source: Liu et al. 2021, "Towards impartial multi-task learning" (ICLR), IMTL-L.
Equation: L = Σ_t (e^(s_t) L_t - s_t), s learned with the network; for a given L_t the minimum is at e^(s_t) L_t = 1.
Deviations: none; s is learned with the experiment's optimizer. Losses must be above 0: the s_t of a loss that stays at
0 or below grows without bound.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dmx.registry import weightings
from dmx.weighting.kinds import LossWeighting


class ImpartialLosses(LossWeighting):
    """One learned s for each task; all start at 0."""

    divides = True

    def __init__(self, tasks: Sequence[str]) -> None:
        super().__init__(tasks)
        self.s = nn.Parameter(torch.zeros(len(self.tasks)))

    def forward(self, losses: Mapping[str, Tensor]) -> Float[Tensor, ""]:
        """Σ_t (e^(s_t) L_t - s_t); it may fall below 0."""
        weights = self.s.exp()
        self.keep(weights)
        return (weights * self.stacked(losses) - self.s).sum()


@weightings.register("imtl_l", source="Liu et al. 2021, IMTL-L", by="losses")
def imtl_l(tasks: Sequence[str]) -> ImpartialLosses:
    """Impartial losses: weights learned so that every weighted loss comes to be 1.

    Args:
        tasks: The names of the tasks.
    """
    return ImpartialLosses(tasks)
