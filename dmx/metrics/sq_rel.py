"""Squared relative error of depth."""

from jaxtyping import Float64
from torch import Tensor

from dmx.metrics.pixels import DepthPixels
from dmx.registry import depth_metrics


@depth_metrics.register(
    "sq_rel",
    source="Eigen et al. 2014, section 4.1",
    finish="ratio",
    higher_is_better=False,
    kinds=("metric",),
    equation="mean((y - t)^2 / t)",
    version=1,
)
def sq_rel(pixels: DepthPixels) -> Float64[Tensor, "B K"]:
    """Squared relative error. Unit: the depth's; 0 or more."""
    return pixels.mean_sums((pixels.y - pixels.t).square() / pixels.t)
