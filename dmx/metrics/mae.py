"""Mean absolute error, of the mask's probability and of depth."""

import torch
from jaxtyping import Float64
from torch import Tensor

from dmx.metrics.pixels import DepthPixels, MaskPixels
from dmx.registry import depth_metrics, mask_metrics


@mask_metrics.register(
    "mae",
    source="Perazzi et al. 2012, eq. 9",
    finish="ratio",
    higher_is_better=False,
    equation="mean |sigmoid(z) - g|",
    version=1,
)
def mask_mae(pixels: MaskPixels) -> Float64[Tensor, "B K"]:
    """Mean absolute error of the probability. In [0, 1]; undefined where no pixel is known."""
    return pixels.sums((pixels.p - pixels.g).abs(), torch.ones_like(pixels.p))


@depth_metrics.register(
    "mae",
    source="Mean absolute error",
    finish="ratio",
    higher_is_better=False,
    kinds=("metric", "relative"),
    equation="mean |y - t|",
    version=1,
)
def depth_mae(pixels: DepthPixels) -> Float64[Tensor, "B K"]:
    """Mean absolute error. Unit: the depth's; 0 or more."""
    return pixels.mean_sums((pixels.y - pixels.t).abs())
