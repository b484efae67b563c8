"""Focal Tversky loss: a power of the Tversky loss of each sample.

Source: Abraham and Khan 2019, "A novel focal Tversky loss function with improved attention U-Net for lesion
segmentation".
Equation: L = (1 - T)^(1/γ) for each sample, T as in `tversky`; the mean over samples that have known pixels.
Deviations: α weighs false positives and β false negatives, as in `tversky`; the paper swaps the letters. At T = 1
exactly, where the root has an infinite slope, the gradient is 0.
"""

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from dmx.losses.masked import mask_pair, masked_mean
from dmx.losses.tversky import ErrorWeight, tversky_distance
from dmx.quartet import Batch, Prediction
from dmx.registry import Range, mask_losses


@mask_losses.register("focal_tversky", source="Abraham and Khan 2019")
def focal_tversky(
    prediction: Prediction,
    batch: Batch,
    *,
    alpha: ErrorWeight = 0.3,
    beta: ErrorWeight = 0.7,
    gamma: Annotated[float, Field(ge=1, le=3), Range(1.0, 3.0)] = 4 / 3,
) -> Float[Tensor, ""]:
    """Focal Tversky loss: a root of the Tversky loss, steeper the closer to the truth. In [0, 1]; 0 is perfect.

    Args:
        prediction: What the network says.
        batch: What is true.
        alpha: Weight α of false pixels: predicted, but not of the object.
        beta: Weight β of missed pixels: of the object, but not predicted.
        gamma: γ; 1 is the Tversky loss, the paper takes 4/3.
    """
    z, g, valid = mask_pair(prediction, batch)
    D = tversky_distance(z, g, valid, alpha, beta)
    L = torch.where(D == 0, 0, torch.where(D == 0, 1, D).pow(1 / gamma))  # 0 to a power below 1: slope infinity
    return masked_mean(L, valid.flatten(1).any(1))
