"""Multi-scale gradient matching: penalises differences of error between neighbouring pixels, so that edges match.

Source: Li and Snavely 2018, "MegaDepth", eq. 3; in the form of Ranftl et al. 2022, "MiDaS", eq. 11.
Equation: L = Σ_k mean(|∂x R^k| + |∂y R^k|), with R = y - t, and R^k every 2^k-th pixel of it in both directions.
Deviations: R of depth, not of log depth (MegaDepth) or aligned disparity (MiDaS), so that it is defined for any depth;
the mean at each scale and for each direction is over the pairs of neighbours with both known.
"""

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from dmx.losses.masked import depth_pair, masked_mean
from dmx.quartet import Batch, Prediction
from dmx.registry import depth_losses


@depth_losses.register("gradient", source="Ranftl et al. 2022, eq. 11", kinds=("metric", "relative"), term=True)
def gradient(
    prediction: Prediction, batch: Batch, *, scales: Annotated[int, Field(ge=1, le=8)] = 4
) -> Float[Tensor, ""]:
    """Multi-scale gradient matching: sharp edges in the right places, whatever the offset. Unit: the depth's.

    It is 0 for a prediction that is wrong by a constant, so it is a term beside another loss.

    Args:
        prediction: What the network says.
        batch: What is true.
        scales: How many, each at half the resolution of the one before.
    """
    y, t, valid = depth_pair(prediction, batch)
    L = torch.zeros_like(y[0, 0, 0, 0])
    for k in range(scales):
        R, known = (y - t)[..., :: 2**k, :: 2**k], valid[..., :: 2**k, :: 2**k]
        L = L + masked_mean(R.diff(dim=-1).abs(), known[..., 1:] & known[..., :-1])
        L = L + masked_mean(R.diff(dim=-2).abs(), known[..., 1:, :] & known[..., :-1, :])
    return L
