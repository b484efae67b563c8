"""Means over the pixels that count, which never let in what stands in the others.

Unknown pixels may hold anything, NaN too, and 0 times NaN is NaN, in gradients as well. So they are replaced by a
harmless constant *before* the equation (`depth_pair`, `mask_pair`) and left out of the sums after it.
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
    """The mean of x where it is valid; 0, with zero gradient, where nothing is."""
    return torch.where(valid, x, 0).sum() / valid.sum().clamp(min=1)


def sample_mean(x: Float[Tensor, "B 1 H W"], valid: Bool[Tensor, "B 1 H W"]) -> Float[Tensor, "B"]:
    """As `masked_mean`, for each sample."""
    return torch.where(valid, x, 0).sum((1, 2, 3)) / valid.sum((1, 2, 3)).clamp(min=1)
