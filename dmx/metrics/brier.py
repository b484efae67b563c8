"""Brier score of the mask's probability (Brier 1950)."""

import torch
from jaxtyping import Float64
from torch import Tensor

from dmx.metrics.pixels import MaskPixels
from dmx.registry import mask_metrics


@mask_metrics.register(
    "brier",
    source="Brier 1950",
    finish="ratio",
    higher_is_better=False,
    thorough=True,
    equation="mean (sigmoid(z) - g)^2",
    version=1,
)
def brier(pixels: MaskPixels) -> Float64[Tensor, "B K"]:
    """Mean squared error of the probability. In [0, 1]; undefined where no pixel is known."""
    return pixels.sums((pixels.p - pixels.g).square(), torch.ones_like(pixels.p))
