"""Cross-entropy plus Dice, for the mask and, as published for this problem, for relative depth.

Equation: L = BCE + w · Dice; see `bce` and `dice`.
Deviations: for depth, the network's raw output is the logit and the depth in [0, 1] is the target. So the loss requires
the link `identity`, and the predicted depth is then a logit, which affects the meaning of depth metrics.
"""

from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from dmx.losses.bce import cross_entropy
from dmx.losses.dice import SMOOTH, dice_loss
from dmx.losses.masked import depth_pair, mask_pair
from dmx.quartet import Batch, Prediction
from dmx.registry import Range, depth_losses, mask_losses

DiceWeight = Annotated[float, Field(ge=0, le=100), Range(0.1, 10.0, log=True)]


@mask_losses.register("bce_dice", source="Sum of bce and dice; Isensee et al. 2021 (nnU-Net) train on such a sum")
def mask_bce_dice(prediction: Prediction, batch: Batch, *, dice_weight: DiceWeight = 1.0) -> Float[Tensor, ""]:
    """Binary cross-entropy plus Dice: smooth gradients early, overlap late. 0 or more.

    Args:
        prediction: What the network says.
        batch: What is true.
        dice_weight: The weight w of Dice beside the cross-entropy.
    """
    z, g, valid = mask_pair(prediction, batch)
    return cross_entropy(z, g, valid) + dice_weight * dice_loss(z, g, valid, SMOOTH)


@depth_losses.register(
    "bce_dice", source="The published recipe of this problem", kinds=("relative",), needs={"depth_link": ("identity",)}
)
def depth_bce_dice(prediction: Prediction, batch: Batch, *, dice_weight: DiceWeight = 1.0) -> Float[Tensor, ""]:
    """Cross-entropy plus Dice of raw outputs against relative depth, as published; needs depth_link identity.

    Args:
        prediction: What the network says; `depth` is its raw output.
        batch: What is true; depth in [0, 1].
        dice_weight: The weight w of Dice beside the cross-entropy.
    """
    z, g, valid = depth_pair(prediction, batch)
    return cross_entropy(z, g, valid) + dice_weight * dice_loss(z, g, valid, SMOOTH)
