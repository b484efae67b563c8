"""Reverse Huber loss: L1 for small errors, L2 for large ones.

Source: Laina et al. 2016, "Deeper depth prediction with fully convolutional residual networks", section 3.3.
Equation: B(x) = |x| where |x| <= c, else (x² + c²) / (2c), with x = y - t and c = max |x| / 5 over the batch's known
pixels; L = mean B.
Deviations: c is detached from the gradient. Otherwise the gradient could increase the error of the worst pixel, because
a larger c lowers the loss of all other pixels.
"""

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from dmx.losses.masked import depth_pair, masked_mean
from dmx.quartet import Batch, Prediction
from dmx.registry import Range, depth_losses


@depth_losses.register("berhu", source="Laina et al. 2016, section 3.3", kinds=("metric", "relative"))
def berhu(
    prediction: Prediction, batch: Batch, *, threshold: Annotated[float, Field(gt=0, le=1), Range(0.1, 0.5)] = 0.2
) -> Float[Tensor, ""]:
    """Reverse Huber loss (berHu): L1 near the truth, L2 far from it. Unit: the depth's; 0 or more.

    Args:
        prediction: What the network says.
        batch: What is true.
        threshold: c as a share of the greatest error in the batch; a fifth in the paper.
    """
    y, t, valid = depth_pair(prediction, batch)
    x = (y - t).abs()
    c = (threshold * x.detach().max()).clamp(min=torch.finfo(x.dtype).tiny)  # 0 where all is perfect: not 0/0
    B = torch.where(x <= c, x, (x.square() + c.square()) / (2 * c))
    return masked_mean(B, valid)
