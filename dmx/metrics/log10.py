"""Mean absolute error of decimal log depth."""

import math

from jaxtyping import Float64
from torch import Tensor

from dmx.metrics.pixels import DepthPixels
from dmx.registry import depth_metrics

LN10 = math.log(10)


@depth_metrics.register(
    "log10",
    source="Saxena et al. 2009 (Make3D)",
    finish="ratio",
    higher_is_better=False,
    kinds=("metric",),
    equation="mean |log10 y - log10 t|",
    version=1,
)
def log10(pixels: DepthPixels) -> Float64[Tensor, "B K"]:
    """Mean absolute error of decimal logarithms. Without unit; 0 or more; undefined for depth not above 0."""
    return pixels.mean_sums(pixels.log_ratio.abs() / LN10)
