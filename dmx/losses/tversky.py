"""Tversky loss: overlap with separate weights for false positives and false negatives.

Source: Salehi et al. 2017, "Tversky loss function for image segmentation using 3D fully convolutional deep networks".
Equation: T = Σ p g / (Σ p g + α Σ p (1 - g) + β Σ (1 - p) g) with p = σ(z) over the known pixels of a sample;
L = 1 - T, the mean over samples that have known pixels. α = β = 1/2 is Dice (without squares), α = β = 1 is Jaccard.
Deviations: `SMOOTH` is added to numerator and denominator, as in `dice`. Implemented here, because
segmentation-models-pytorch pools the batch into one sample and gives 0 without an object.
"""

from typing import Annotated

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from dmx.losses.masked import mask_pair, masked_mean
from dmx.quartet import Batch, Prediction
from dmx.registry import Range, mask_losses

SMOOTH = 1.0

ErrorWeight = Annotated[float, Field(gt=0, le=10), Range(0.1, 0.9)]


def tversky_distance(
    z: Float[Tensor, "B 1 H W"], g: Float[Tensor, "B 1 H W"], valid: Bool[Tensor, "B 1 H W"], alpha: float, beta: float
) -> Float[Tensor, "B"]:
    """1 - T of each sample, in [0, 1]; 0 for a sample without known pixels."""
    p, q = (torch.where(valid, x.sigmoid(), 0).flatten(1) for x in (z, -z))  # q = 1 - p, exact where p rounds to 1
    g = g.flatten(1)
    hits, wrong = (p * g).sum(1), alpha * (p * (1 - g)).sum(1) + beta * (q * g).sum(1)
    return wrong / (hits + wrong + SMOOTH)  # = 1 - (hits + SMOOTH) / (hits + wrong + SMOOTH), never below 0


@mask_losses.register("tversky", source="Salehi et al. 2017")
def tversky(
    prediction: Prediction, batch: Batch, *, alpha: ErrorWeight = 0.3, beta: ErrorWeight = 0.7
) -> Float[Tensor, ""]:
    """Tversky loss: overlap, with missed pixels dearer than false ones by default. In [0, 1]; 0 is perfect.

    Args:
        prediction: What the network says.
        batch: What is true.
        alpha: Weight α of false pixels: predicted, but not of the object.
        beta: Weight β of missed pixels: of the object, but not predicted.
    """
    z, g, valid = mask_pair(prediction, batch)
    return masked_mean(tversky_distance(z, g, valid, alpha, beta), valid.flatten(1).any(1))
