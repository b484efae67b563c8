"""The depth link `inverse`: from disparity of unknown scale to depth."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dmx.quartet import DepthSpec

GREATEST = math.exp(10)
"""Of a r in units of 1/c: far nearer than any range, but well within float32, as in the link `exp`."""


class Inverse(nn.Module):
    """From disparity r to depth: d = 1 / (a r + 1/high), with 0 <= a r <= 22026/c.

    Source: Ranftl et al. 2022, "Towards robust monocular depth estimation: mixing datasets for zero-shot cross-dataset
    transfer": networks that learn from many data sets give inverse depth up to scale and shift. The shift is fixed
    here, so that r = 0, which nothing is farther than, is the greatest depth of the data set. The scale is that of the
    network: of one picture, transformers' own tests have a disparity of 2.7 from Depth Anything V2's small checkpoint,
    4.4 from the base and 162 from the large one. So `fit` takes a from the data before training. It is stored with the
    weights and is not learned; the network's own last layers are. Until it is fitted, r = 1 stands for the range's
    centre c.

    Relative depth whose near end is high is disparity itself: there d is low + high minus the above.
    """

    a: Tensor

    def __init__(self, spec: DepthSpec, centre: float) -> None:
        super().__init__()
        self.farthest, self.limit = 1 / spec.high, GREATEST / centre
        self.turned = spec.low + spec.high if spec.near == "high" else None
        self.register_buffer("a", torch.tensor(1 / centre - self.farthest))

    def forward(self, r: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Depth in the unit of the data set; NaN stays NaN."""
        return self._turned(1 / ((self.a * r).clamp(0, self.limit) + self.farthest))

    @torch.no_grad()
    def fit(self, r: Float[Tensor, "N"], depth: Float[Tensor, "N"]) -> bool:
        """Set a so that the median of the disparities gives the median of the depths.

            a = (1/median(d) - 1/high) / median(r)

        Medians, as some pixels are at the range's ends. Returns whether that is a positive number; if not, as for a
        network that gives 0 everywhere, a stays as it is.
        """
        if not len(r):
            return False
        a = (1 / self._turned(depth.median()) - self.farthest) / r.median()
        sensible = bool(a.isfinite() and a > 0)
        if sensible:
            self.a.copy_(a)
        return sensible

    def _turned(self, depth: Tensor) -> Tensor:
        return depth if self.turned is None else self.turned - depth
