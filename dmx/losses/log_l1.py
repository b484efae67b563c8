"""Mean absolute error of the logarithm of depth.

Equation: L = mean |ln y - ln t| over all known pixels of the batch. Deviations: none.
"""

from jaxtyping import Float
from torch import Tensor

from dmx.losses.masked import depth_pair, masked_mean
from dmx.quartet import Batch, Prediction
from dmx.registry import depth_losses


@depth_losses.register(
    "log_l1",
    source="Mean absolute logarithmic error",
    kinds=("metric",),
    needs={"depth_link": ("auto", "sigmoid", "softplus", "exp", "inverse")},
)
def log_l1(prediction: Prediction, batch: Batch) -> Float[Tensor, ""]:
    """Mean absolute logarithmic error: 10 % count alike near and far. Without unit; 0 or more.

    Args:
        prediction: What the network says; depth above 0, anything else gives NaN or infinity.
        batch: What is true; depth above 0.
    """
    y, t, valid = depth_pair(prediction, batch)
    return masked_mean((y.log() - t.log()).abs(), valid)
