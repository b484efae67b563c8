"""Surface normals: the angle between predicted and true surface normals.

Source: Hu et al. 2019, "Revisiting single image depth estimation: toward higher resolution maps with accurate object
boundaries", the loss of surface normals.
Equation: n = (-s ∂x d, -s ∂y d, 1) for d = y and d = t, with s = 1; L = mean (1 - cos(n_y, n_t)).
Deviations: s is a parameter: depth in metres hardly changes from a pixel to the next, and with s = 1 all normals are
nearly equal. Differences to the right and lower neighbours replace Sobel filters, over pixels with both known.
1 - cos is computed as |n_y/|n_y| - n_t/|n_t||² / 2, which avoids cancellation for small angles.
"""

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from dmx.losses.masked import depth_pair, masked_mean
from dmx.quartet import Batch, Prediction
from dmx.registry import Range, depth_losses


def unit_normals(d: Float[Tensor, "B 1 H W"], s: float) -> Float[Tensor, "B 3 h w"]:
    """The normals n / |n| of all pixels except the last row and column."""
    dx, dy = d.diff(dim=-1)[..., :-1, :], d.diff(dim=-2)[..., :-1]
    n = torch.cat([-s * dx, -s * dy, torch.ones_like(dx)], dim=1)
    return n / n.square().sum(1, keepdim=True).sqrt()


@depth_losses.register("normals", source="Hu et al. 2019", kinds=("metric", "relative"), term=True)
def normals(
    prediction: Prediction,
    batch: Batch,
    *,
    steepness: Annotated[float, Field(gt=0, le=1000), Range(1.0, 100.0, log=True)] = 10.0,
) -> Float[Tensor, ""]:
    """Surface normals: planes should be tilted alike, and flat ones be flat. Without unit, in [0, 2].

    It is 0 for a prediction that is wrong by a constant, so it is a term beside another loss.

    Args:
        prediction: What the network says.
        batch: What is true.
        steepness: s; a change of depth by 1 / s from a pixel to the next is a slope of 45 degrees. 1 in the paper.
    """
    y, t, valid = depth_pair(prediction, batch)
    known = valid[..., :-1, :-1] & valid[..., :-1, 1:] & valid[..., 1:, :-1]
    apart = unit_normals(y, steepness) - unit_normals(t, steepness)
    return masked_mean(apart.square().sum(1, keepdim=True) / 2, known)
