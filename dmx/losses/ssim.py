"""Structural dissimilarity of depth maps.

Source: Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity", eq. 13, as in
kornia; as a loss for depth: Alhashim and Wonka 2018, "DenseDepth", section 3.2.
Equation: SSIM = (2 μ_y μ_t + C1)(2 σ_yt + C2) / ((μ_y² + μ_t² + C1)(σ_y² + σ_t² + C2)) in Gaussian windows of
σ = 1.5 pixels, C1 = (0.01 l)², C2 = (0.03 l)²;  L = (1 - SSIM) / 2, the mean over windows.
Deviations: the range l is the greatest known depth of each sample, so that the loss does not depend on the unit. Only
windows that lie inside of the picture and hold no unknown pixel count: nothing is padded or filled in.
"""

from typing import Annotated, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from dmx.errors import UserError
from dmx.losses.masked import depth_pair, masked_mean
from dmx.quartet import Batch, Prediction
from dmx.registry import Choice, depth_losses


@depth_losses.register("ssim", source="Wang et al. 2004, eq. 13; kornia.metrics.ssim", kinds=("metric", "relative"))
def ssim(
    prediction: Prediction, batch: Batch, *, window: Annotated[Literal[3, 5, 7, 9, 11], Choice(3, 7, 11)] = 11
) -> Float[Tensor, ""]:
    """Structural dissimilarity: local means, contrasts and shapes should agree. Without unit, in [0, 1].

    Args:
        prediction: What the network says.
        batch: What is true; depth of 0 or more.
        window: Side of the windows, in pixels.

    Raises:
        UserError: The pictures are smaller than a window.
    """
    y, t, valid = depth_pair(prediction, batch)
    if min(y.shape[-2:]) < window:
        raise UserError(
            f"depth loss 'ssim' looks at windows of {window}x{window} pixels, but the pictures have "
            f"{y.shape[-2]}x{y.shape[-1]}; choose a smaller window or a larger size."
        )
    from kornia.metrics import ssim as kornia_ssim  # here, as it costs 1 s where the loss is only looked up

    highest = torch.where(valid, t, 0).amax((1, 2, 3), keepdim=True)
    scale = torch.where(highest > 0, highest, 1)
    with torch.autocast(y.device.type, enabled=False):  # the windows' variances cancel in half precision
        S = kornia_ssim(y / scale, t / scale, window, max_val=1.0, padding="valid")
    whole = torch.nn.functional.max_pool2d((~valid).to(y.dtype), window, stride=1) == 0
    return masked_mean((1 - S) / 2, whole)
