"""Ordinal ranking: of two pixels, the farther one should be predicted as farther.

Source: Chen et al. 2016, "Single-image depth perception in the wild" (the loss of a pair); Xian et al. 2020,
"Structure-guided ranking loss for single image depth prediction" (the order from true depth by a tolerance τ).
Equation: ψ = ln(1 + e^(-r (y_i - y_j))) for r = ±1, (y_i - y_j)² for r = 0, with r = 1 where t_i > (1 + τ) t_j, -1
where t_j > (1 + τ) t_i, else 0; L = mean ψ over pairs.
Deviations: each known pixel is paired with two random others of its sample, the same ones at each step (`sampling`).
"""

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn.functional import softplus

from dmx.losses.masked import depth_pair, masked_mean
from dmx.losses.sampling import at, known_tuples
from dmx.quartet import Batch, Prediction
from dmx.registry import Range, depth_losses


@depth_losses.register("ranking", source="Chen et al. 2016; Xian et al. 2020", kinds=("metric", "relative"), term=True)
def ranking(
    prediction: Prediction,
    batch: Batch,
    *,
    tolerance: Annotated[float, Field(ge=0, le=1), Range(0.01, 0.2, log=True)] = 0.03,
) -> Float[Tensor, ""]:
    """Ordinal ranking: the order of depth counts, its size does not. 0 or more.

    It rewards depths that lie further apart than the truth, so it is a term beside another loss.

    Args:
        prediction: What the network says.
        batch: What is true; depth of 0 or more.
        tolerance: τ; two depths count as equal where neither is greater by more than this share.
    """
    y, t, valid = depth_pair(prediction, batch)
    pairs, known = known_tuples(valid, 2)
    (y_i, y_j), (t_i, t_j) = at(y, pairs), at(t, pairs)
    r = (t_i > (1 + tolerance) * t_j).to(y.dtype) - (t_j > (1 + tolerance) * t_i).to(y.dtype)
    psi = torch.where(r == 0, (y_i - y_j).square(), softplus(-r * (y_i - y_j)))
    return masked_mean(psi, known)
