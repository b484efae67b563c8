"""Root mean squared error of depth."""

from jaxtyping import Float64
from torch import Tensor

from dmx.metrics.pixels import DepthPixels
from dmx.registry import depth_metrics


@depth_metrics.register(
    "rmse",
    source="Eigen et al. 2014, section 4.1",
    finish="root",
    higher_is_better=False,
    kinds=("metric", "relative"),
    equation="sqrt(mean (y - t)^2)",
    version=1,
)
def rmse(pixels: DepthPixels) -> Float64[Tensor, "B K"]:
    """Root mean squared error. Unit: the depth's; 0 or more."""
    return pixels.mean_sums((pixels.y - pixels.t).square())
