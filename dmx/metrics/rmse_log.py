"""Root mean squared error of log depth."""

from jaxtyping import Float64
from torch import Tensor

from dmx.metrics.pixels import DepthPixels
from dmx.registry import depth_metrics


@depth_metrics.register(
    "rmse_log",
    source="Eigen et al. 2014, section 4.1",
    finish="root",
    higher_is_better=False,
    kinds=("metric",),
    equation="sqrt(mean (ln y - ln t)^2)",
    version=1,
)
def rmse_log(pixels: DepthPixels) -> Float64[Tensor, "B K"]:
    """Root mean squared error of natural logarithms. Without unit; 0 or more; undefined for depth not above 0."""
    return pixels.mean_sums(pixels.log_ratio.square())
