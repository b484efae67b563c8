"""Scale-invariant logarithmic error.

Source: Eigen et al. 2014, "Depth map prediction from a single image using a multi-scale deep network", eq. 4.
Equation: d_i = ln y_i - ln t_i;  D = 1/n Σ d_i² - λ/n² (Σ d_i)²  over the n known pixels of an image.
Deviations: none; as in the paper there is no square root and no factor of 10 (later codes have both), and the loss is
the mean over the images that have known pixels.
"""

from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from dmx.losses.masked import depth_pair, masked_mean, sample_mean
from dmx.quartet import Batch, Prediction
from dmx.registry import Range, depth_losses


@depth_losses.register(
    "silog",
    source="Eigen et al. 2014, eq. 4",
    kinds=("metric",),
    needs={"depth_link": ("auto", "sigmoid", "softplus", "exp", "inverse")},
)
def silog(
    prediction: Prediction, batch: Batch, *, lam: Annotated[float, Field(ge=0, le=1), Range(0.1, 1.0)] = 0.5
) -> Float[Tensor, ""]:
    """Scale-invariant logarithmic error: ratios count, and a wrong overall scale counts less. Without unit; 0 or more.

    Args:
        prediction: What the network says; depth above 0, anything else gives NaN.
        batch: What is true; depth above 0.
        lam: λ, how much of an image's overall scale error is forgiven: 0 none, 1 all of it.
    """
    y, t, valid = depth_pair(prediction, batch)
    d = y.log() - t.log()
    mean = sample_mean(d, valid)
    spread = sample_mean((d - mean[:, None, None, None]).square(), valid)  # the two terms of D apart: never below 0
    D = spread + (1 - lam) * mean.square()
    return masked_mean(D, valid.flatten(1).any(1))
