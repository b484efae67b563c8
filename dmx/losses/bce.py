"""Binary cross-entropy of the mask.

Equation: L = -(g ln p + (1 - g) ln(1 - p)) with p = σ(z), the mean over all known pixels of the batch.
Deviations: none; computed from the logits, which is exact where p rounds to 0 or 1.
"""

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from dmx.losses.masked import mask_pair, masked_mean
from dmx.quartet import Batch, Prediction
from dmx.registry import mask_losses


def cross_entropy(z: Tensor, g: Tensor, valid: Tensor) -> Float[Tensor, ""]:
    """Mean cross-entropy of logits z against g in [0, 1]; all (B, 1, H, W). Unit: nats; 0 or more."""
    return masked_mean(binary_cross_entropy_with_logits(z, g, reduction="none"), valid)


@mask_losses.register("bce", source="torch.nn.functional.binary_cross_entropy_with_logits")
def bce(prediction: Prediction, batch: Batch) -> Float[Tensor, ""]:
    """Binary cross-entropy: each known pixel counts alike. Unit: nats; 0 or more."""
    return cross_entropy(*mask_pair(prediction, batch))
