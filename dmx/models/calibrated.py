"""A depth link that is brought to another camera's scale."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

LEAST = 1e-3
"""Metres to which depth is raised before the power is taken, which is undefined below 0."""


class Calibrated(nn.Module):
    """d' = scale d^power of the depth d of another link: log d' = power log d + log scale.

    Args:
        link: From raw output to depth in metres.
        scale: The factor, above 0.
        power: The exponent, above 0.
    """

    def __init__(self, link: Callable[[Tensor], Tensor], scale: float, power: float) -> None:
        super().__init__()
        self.link = link
        self.scale = scale
        self.power = power

    def forward(self, r: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The calibrated depth of raw outputs."""
        depth: Tensor = self.scale * self.link(r).clamp(min=LEAST).pow(self.power)
        return depth
