"""Share of pixels whose depth is correct within a factor of 1.25, 1.25² or 1.25³ (Ladický et al. 2014)."""

import torch
from jaxtyping import Float64
from torch import Tensor

from dmx.metrics.pixels import DepthPixels
from dmx.registry import depth_metrics


def within(pixels: DepthPixels, k: int) -> Float64[Tensor, "B K"]:
    """Sums of the share of pixels with max(y/t, t/y) < 1.25^k; an undefined ratio gives NaN, not a miss."""
    worse = pixels.worse_ratio
    return pixels.mean_sums(torch.where(worse.isnan(), worse, (worse < 1.25**k).double()))


@depth_metrics.register(
    "delta1",
    source="Eigen et al. 2014, section 4.1",
    finish="ratio",
    higher_is_better=True,
    kinds=("metric",),
    equation="share of max(y/t, t/y) < 1.25",
    version=1,
)
def delta1(pixels: DepthPixels) -> Float64[Tensor, "B K"]:
    """Share of pixels within a factor of 1.25. In [0, 1]; undefined for depth not above 0."""
    return within(pixels, 1)


@depth_metrics.register(
    "delta2",
    source="Eigen et al. 2014, section 4.1",
    finish="ratio",
    higher_is_better=True,
    kinds=("metric",),
    equation="share of max(y/t, t/y) < 1.25^2",
    version=1,
)
def delta2(pixels: DepthPixels) -> Float64[Tensor, "B K"]:
    """Share of pixels within a factor of 1.25². In [0, 1]; undefined for depth not above 0."""
    return within(pixels, 2)


@depth_metrics.register(
    "delta3",
    source="Eigen et al. 2014, section 4.1",
    finish="ratio",
    higher_is_better=True,
    kinds=("metric",),
    equation="share of max(y/t, t/y) < 1.25^3",
    version=1,
)
def delta3(pixels: DepthPixels) -> Float64[Tensor, "B K"]:
    """Share of pixels within a factor of 1.25³. In [0, 1]; undefined for depth not above 0."""
    return within(pixels, 3)
