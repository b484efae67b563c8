"""Binary cross-entropy with a weight for the object's pixels.

Equation: L = -(w g ln p + (1 - g) ln(1 - p)) with p = σ(z), the mean over all known pixels of the batch.
Deviations: none; w is torch's `pos_weight`, and the mean is over pixels, not over weights.
"""

from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from dmx.losses.masked import mask_pair, masked_mean
from dmx.quartet import Batch, Prediction
from dmx.registry import Range, mask_losses


@mask_losses.register("weighted_bce", source="torch.nn.functional.binary_cross_entropy_with_logits, pos_weight")
def weighted_bce(
    prediction: Prediction,
    batch: Batch,
    *,
    weight: Annotated[float, Field(gt=0, le=1000), Range(0.5, 20.0, log=True)] = 3.0,
) -> Float[Tensor, ""]:
    """Weighted binary cross-entropy: a missed pixel of the object costs more than a false one. Unit: nats; 0 or more.

    Args:
        prediction: What the network says.
        batch: What is true.
        weight: The weight w of the object's pixels; the others have 1.
    """
    z, g, valid = mask_pair(prediction, batch)
    return masked_mean(binary_cross_entropy_with_logits(z, g, reduction="none", pos_weight=z.new_tensor(weight)), valid)
