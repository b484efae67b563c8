"""Dice coefficient, or F1 score, of predicted and true mask (Dice 1945)."""

from jaxtyping import Float64
from torch import Tensor

from dmx.metrics.pixels import MaskPixels
from dmx.registry import mask_metrics


@mask_metrics.register(
    "dice",
    source="Dice 1945",
    finish="ratio",
    higher_is_better=True,
    equation="2 |P and G| / (|P| + |G|), P where the logit is above 0",
    version=1,
)
def dice(pixels: MaskPixels) -> Float64[Tensor, "B K"]:
    """Dice coefficient. In [0, 1]; undefined where there is neither an object nor a predicted one."""
    P, G = pixels.hard, pixels.g
    return pixels.sums(2 * P * G, P + G)
