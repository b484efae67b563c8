"""Share of pixels whose depth is correct within a factor of 1.25, 1.25² or 1.25³ (Ladický et al. 2014)."""

from collections.abc import Callable

import torch
from jaxtyping import Float64
from torch import Tensor

from dmx.metrics.pixels import DepthPixels
from dmx.registry import depth_metrics


def register(k: int, power: str) -> Callable[[DepthPixels], Float64[Tensor, "B K"]]:
    """Register the metric of the factor 1.25^k, `power` in print."""

    def delta(pixels: DepthPixels) -> Float64[Tensor, "B K"]:
        """Sums of the share of pixels with max(y/t, t/y) < 1.25^k; an undefined ratio gives NaN, not a miss."""
        worse = pixels.worse_ratio
        return pixels.mean_sums(torch.where(worse.isnan(), worse, (worse < 1.25**k).double()))

    delta.__name__ = delta.__qualname__ = f"delta{k}"
    delta.__doc__ = f"Share of pixels within a factor of 1.25{power}. In [0, 1]; undefined for depth not above 0."
    return depth_metrics.register(
        f"delta{k}",
        source="Eigen et al. 2014, section 4.1",
        finish="ratio",
        higher_is_better=True,
        kinds=("metric",),
        equation="share of max(y/t, t/y) < 1.25" + (f"^{k}" if k > 1 else ""),
        version=1,
    )(delta)


delta1, delta2, delta3 = register(1, ""), register(2, "²"), register(3, "³")
