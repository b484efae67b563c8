"""Scale-invariant logarithmic error of depth with λ = 1: the spread of ln y - ln t.

λ is part of the name, because other definitions share the name SILog: λ = 0.5 and 0.85 are also in use, as are factors
of 100.
"""

import torch
from jaxtyping import Float64
from torch import Tensor

from dmx.metrics.pixels import DepthPixels, total
from dmx.registry import depth_metrics


@depth_metrics.register(
    "silog_lambda1",
    source="Eigen et al. 2014, eq. 3 (its square root; their eq. 1 is half of eq. 3)",
    finish="spread",
    higher_is_better=False,
    kinds=("metric",),
    equation="sqrt(mean d^2 - (mean d)^2), d = ln y - ln t",
    version=1,
)
def silog_lambda1(pixels: DepthPixels) -> Float64[Tensor, "B K"]:
    """Scale-invariant logarithmic error, λ = 1. Without unit; 0 or more; undefined for depth not above 0.

    Pooled, one scale is forgiven to all pictures together; per image, each is forgiven its own.
    """
    d = pixels.log_ratio
    squares_and_n = pixels.mean_sums(d.square())
    return torch.stack([squares_and_n[:, 0], total(d, pixels.valid), squares_and_n[:, 1]], dim=1)
