"""Geometric loss strategy: the geometric mean of the losses, which balances losses of different scales.

Source: Chennupati et al. 2019, "MultiNet++: multi-stream feature aggregation and geometric loss strategy".
Equation: L = (Π_t L_t)^(1/n); so ∂L/∂L_t = L / (n L_t).
Deviations: a loss that is exactly 0, for example if no depth is known, is left out of the mean; it would make all
gradients 0 or infinite. Losses must not be below 0: a negative one gives NaN.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from dmx.registry import weightings
from dmx.weighting.kinds import LossWeighting


class GeometricMean(LossWeighting):
    """L = (Π_t L_t)^(1/n) over the n losses that are not 0."""

    logarithmic = True

    def forward(self, losses: Mapping[str, Tensor]) -> Float[Tensor, ""]:
        """The geometric mean; 0 if all losses are 0."""
        L = self.stacked(losses)
        there = L != 0
        n = there.sum().clamp(min=1)
        factors = torch.where(there, L, torch.ones_like(L))
        mean = (factors.log().sum() / n).exp()
        weights = torch.where(there, mean / (n * factors), torch.zeros_like(L))
        none = ~there.any()
        self.keep(torch.where(none, torch.ones_like(L), weights))
        return torch.where(none, L.sum(), mean)


@weightings.register("gls", source="Chennupati et al. 2019, geometric loss strategy", by="losses")
def gls(tasks: Sequence[str]) -> GeometricMean:
    """Geometric mean of the losses.

    Args:
        tasks: The names of the tasks.
    """
    return GeometricMean(tasks)
