"""Intersection over union of predicted and true mask (Jaccard 1901)."""

from jaxtyping import Float64
from torch import Tensor

from dmx.metrics.pixels import MaskPixels
from dmx.registry import mask_metrics


@mask_metrics.register(
    "iou",
    source="Everingham et al. 2010 (PASCAL VOC), section 4.3",
    finish="ratio",
    higher_is_better=True,
    equation="|P and G| / |P or G|, P where the logit is above 0",
    version=1,
)
def iou(pixels: MaskPixels) -> Float64[Tensor, "B K"]:
    """Intersection over union. In [0, 1]; undefined where there is neither an object nor a predicted one."""
    P, G = pixels.hard, pixels.g
    return pixels.sums(P * G, P + G - P * G)
