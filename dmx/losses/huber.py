"""Huber loss of depth: L2 for small errors, L1 for large ones.

Source: Huber 1964, "Robust estimation of a location parameter"; torch.nn.functional.huber_loss.
Equation: H(x) = x² / 2 where |x| <= δ, else δ (|x| - δ / 2), with x = y - t; L = mean H over all known pixels.
Deviations: none.
"""

from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn.functional import huber_loss

from dmx.losses.masked import depth_pair, masked_mean
from dmx.quartet import Batch, Prediction
from dmx.registry import Range, depth_losses


@depth_losses.register("huber", source="torch.nn.functional.huber_loss", kinds=("metric", "relative"))
def huber(
    prediction: Prediction,
    batch: Batch,
    *,
    delta: Annotated[float, Field(gt=0, le=100), Range(0.02, 2.0, log=True)] = 0.2,
) -> Float[Tensor, ""]:
    """Huber loss: outliers pull no harder than errors of δ. Unit: the depth's, squared; 0 or more.

    Args:
        prediction: What the network says.
        batch: What is true.
        delta: δ, the error from which on the loss is linear; in the depth's unit.
    """
    y, t, valid = depth_pair(prediction, batch)
    return masked_mean(huber_loss(y, t, reduction="none", delta=delta), valid)
