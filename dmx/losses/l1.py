"""Mean absolute error of depth.

Equation: L = mean |y - t| over all known pixels of the batch. Deviations: none.
"""

from jaxtyping import Float
from torch import Tensor

from dmx.losses.masked import depth_pair, masked_mean
from dmx.quartet import Batch, Prediction
from dmx.registry import depth_losses


@depth_losses.register("l1", source="Mean absolute error", kinds=("metric", "relative"))
def l1(prediction: Prediction, batch: Batch) -> Float[Tensor, ""]:
    """Mean absolute error. Unit: the depth's; 0 or more."""
    y, t, valid = depth_pair(prediction, batch)
    return masked_mean((y - t).abs(), valid)
