"""Soft Dice loss: the overlap of mask and prediction, independent of the object's size.

Source: Milletari et al. 2016, "V-Net", section 3.
Equation: D = 2 Σ p g / (Σ p² + Σ g²) with p = σ(z) over the known pixels of a sample; L = 1 - D, the mean over samples.
Deviations: `smooth` is added to numerator and denominator, so that a sample without object and without prediction has
D = 1 rather than 0/0. With the squares in the denominator, which some implementations leave out, p = g is the optimum
for a g between 0 and 1 as well.
"""

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from dmx.losses.masked import mask_pair, masked_mean
from dmx.quartet import Batch, Prediction
from dmx.registry import mask_losses

SMOOTH = 1.0


def dice_loss(z: Tensor, g: Tensor, valid: Tensor, smooth: float) -> Float[Tensor, ""]:
    """1 - D of logits z against g in [0, 1]; all (B, 1, H, W). In [0, 1]; 0 for a sample without known pixels."""
    p, g = torch.where(valid, z.sigmoid(), 0).flatten(1), torch.where(valid, g, 0).flatten(1)
    D = (2 * (p * g).sum(1) + smooth) / (p.square().sum(1) + g.square().sum(1) + smooth)
    return masked_mean(1 - D, valid.flatten(1).any(1))


@mask_losses.register("dice", source="Milletari et al. 2016, section 3")
def dice(
    prediction: Prediction, batch: Batch, *, smooth: Annotated[float, Field(gt=0, le=1000)] = SMOOTH
) -> Float[Tensor, ""]:
    """Soft Dice loss: small objects count as much as large ones. In [0, 1]; 0 is perfect.

    Args:
        prediction: What the network says.
        batch: What is true.
        smooth: In pixels; keeps samples without an object defined.
    """
    z, g, valid = mask_pair(prediction, batch)
    return dice_loss(z, g, valid, smooth)
