"""Scale- and shift-invariant loss: depth up to an unknown scale and offset.

Source: Ranftl et al. 2022, "Towards robust monocular depth estimation: mixing datasets for zero-shot cross-dataset
transfer" (MiDaS), the trimmed absolute error.
Equation: d̂ = (d - m(d)) / s(d) for d = y and d = t, with m(d) the median and s(d) = 1/M Σ |d_i - m(d)| over the M known
pixels of a sample; L = 1/(2M) Σ |ŷ_i - t̂_i| over the (1 - trim) M pixels with the least error, the mean over samples.
Deviations: the trimmed share is a parameter, a fifth in the paper. Depth in place of disparity. A flat map has s = 0;
it is centred and not scaled. The paper's other form, squared errors after a least-squares fit, also allows a negative
scale, so that a prediction with near and far swapped has a loss of 0. This form does not.
"""

from typing import Annotated

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from dmx.losses.masked import depth_pair, masked_mean
from dmx.quartet import Batch, Prediction
from dmx.registry import depth_losses


def aligned(d: Float[Tensor, "B N"], valid: Bool[Tensor, "B N"]) -> Float[Tensor, "B N"]:
    """d̂ of each sample; meaningless at unknown pixels."""
    M = valid.sum(1, keepdim=True)
    ascending = torch.where(valid, d, torch.inf).sort(dim=1).values  # unknown pixels last
    m = torch.where(M > 0, ascending.gather(1, (M - 1).clamp(min=0) // 2), 0)
    s = torch.where(valid, d - m, 0).abs().sum(1, keepdim=True) / M.clamp(min=1)
    return (d - m) / torch.where(s == 0, 1, s)


@depth_losses.register("ssi", source="Ranftl et al. 2022", kinds=("metric", "relative"), term=True)
def ssi(prediction: Prediction, batch: Batch, *, trim: Annotated[float, Field(ge=0, lt=1)] = 0.2) -> Float[Tensor, ""]:
    """Scale- and shift-invariant loss (MiDaS): the shape of depth counts. Without unit; 0 or more.

    It is 0 for a prediction that is wrong by a scale and an offset, so it is a term beside another loss.

    Args:
        prediction: What the network says.
        batch: What is true.
        trim: The share of each sample's pixels, those with the greatest errors, that is left out.
    """
    y, t, valid = (x.flatten(1) for x in depth_pair(prediction, batch))
    errors = (aligned(y, valid) - aligned(t, valid)).abs()
    errors = torch.where(valid, errors, torch.inf).sort(dim=1).values
    M = valid.sum(1, keepdim=True)
    kept = torch.arange(errors.shape[1], device=errors.device) < ((1 - trim) * M).ceil()
    L = torch.where(kept, errors, 0).sum(1) / (2 * M.clamp(min=1)).squeeze(1)
    return masked_mean(L, valid.any(1))
