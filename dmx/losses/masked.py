"""Means over known pixels that are independent of the values of unknown pixels.

Unknown pixels may hold any value, including NaN, and 0 times NaN is NaN, also in gradients. So they are replaced by a
harmless constant *before* the loss's equation (`depth_pair`, `mask_pair`) and left out of the sums after it.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dmx.quartet import Batch, Prediction


def depth_pair(prediction: Prediction, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Predicted depth y, true depth t and where t is known, all (B, 1, H, W); y = t = 1 where it is not."""
    valid = batch.valid
    return torch.where(valid, prediction.depth, 1), torch.where(valid, batch.depth, 1), valid


def mask_pair(prediction: Prediction, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Mask logits z, true mask g and where g is known, all (B, 1, H, W); z = g = 0 where it is not."""
    valid = batch.mask_valid
    return torch.where(valid, prediction.mask_logits, 0), torch.where(valid, batch.mask, 0), valid


def masked_mean(x: Float[Tensor, "*shape"], valid: Bool[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """The mean of x over valid pixels; 0 with zero gradient if there are none."""
    return torch.where(valid, x, 0).sum() / valid.sum().clamp(min=1)


def sample_mean(x: Float[Tensor, "B 1 H W"], valid: Bool[Tensor, "B 1 H W"]) -> Float[Tensor, "B"]:
    """`masked_mean` of each sample."""
    return torch.where(valid, x, 0).sum((1, 2, 3)) / valid.sum((1, 2, 3)).clamp(min=1)
