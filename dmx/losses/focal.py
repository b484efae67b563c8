"""Focal loss: cross-entropy that down-weights easy pixels.

Source: Lin et al. 2017, "Focal loss for dense object detection", eq. 5.
Equation: FL = -α_t (1 - p_t)^γ ln p_t, with p_t = p and α_t = α on the object, p_t = 1 - p and α_t = 1 - α elsewhere.
Deviations: the mean over known pixels rather than the sum over anchors. (1 - p_t)^γ is computed as e^(γ ln(1 - p_t)):
the gradient of the power, as in torchvision, is infinity times 0 for γ below 1 when p_t rounds to 1.
"""

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn.functional import logsigmoid

from dmx.losses.masked import mask_pair, masked_mean
from dmx.quartet import Batch, Prediction
from dmx.registry import Range, mask_losses


@mask_losses.register("focal", source="Lin et al. 2017, eq. 5")
def focal(
    prediction: Prediction,
    batch: Batch,
    *,
    alpha: Annotated[float, Field(gt=0, lt=1), Range(0.1, 0.9)] = 0.25,
    gamma: Annotated[float, Field(ge=0, le=10), Range(0.5, 5.0)] = 2.0,
) -> Float[Tensor, ""]:
    """Focal loss: the hard pixels of few objects are not drowned by easy background. Unit: nats; 0 or more.

    Args:
        prediction: What the network says.
        batch: What is true.
        alpha: Weight of the object's pixels; the others have 1 - alpha.
        gamma: How little easy pixels count; 0 is weighted cross-entropy.
    """
    z, g, valid = mask_pair(prediction, batch)
    z_t = torch.where(g > 0.5, z, -z)  # p_t = σ(z_t) and 1 - p_t = σ(-z_t)
    alpha_t = alpha * g + (1 - alpha) * (1 - g)
    return masked_mean(-alpha_t * (gamma * logsigmoid(-z_t)).exp() * logsigmoid(z_t), valid)
