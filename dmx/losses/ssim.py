"""Structural dissimilarity of depth maps, and of masks.

Source: Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity", eq. 13-16; as a
loss for depth: Alhashim and Wonka 2018, "DenseDepth", section 3.2; as a loss for masks: Qin et al.
2019, "BASNet: boundary-aware salient object detection".
Equation: SSIM = (2 μ_y μ_t + C1)(2 σ_yt + C2) / ((μ_y² + μ_t² + C1)(σ_y² + σ_t² + C2)) in Gaussian windows of
σ = 1.5 pixels, C1 = (0.01 l)², C2 = (0.03 l)²;  L = (1 - SSIM) / 2, the mean over windows. For masks y = σ(z), t = g
and l = 1.
Deviations: the range l of depth is the greatest known depth of each sample, so that the loss does not depend on the
unit. Only windows inside of the picture count, and only their known pixels: a window's weights are divided by their sum
W over known pixels, and the window itself has weight W. So nothing is padded or filled in, and the loss also works for
sparse depth. For masks the paper has 1 - SSIM.
"""

from typing import Annotated, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import conv2d

from dmx.errors import UserError
from dmx.losses.masked import depth_pair, mask_pair
from dmx.quartet import Batch, Prediction
from dmx.registry import Choice, depth_losses, mask_losses

C1, C2 = 0.01**2, 0.03**2

Window = Annotated[Literal[3, 5, 7, 9, 11], Choice(3, 7, 11)]


def dissimilarity(
    y: Float[Tensor, "B 1 H W"], t: Float[Tensor, "B 1 H W"], valid: Bool[Tensor, "B 1 H W"], window: int, task: str
) -> Float[Tensor, ""]:
    """Mean (1 - SSIM) / 2 of y against t, both of range 1, over windows weighted by W.

    Raises:
        UserError: The pictures are smaller than a window.
    """
    if min(y.shape[-2:]) < window:
        raise UserError(
            f"{task} loss 'ssim' looks at windows of {window}x{window} pixels, but the pictures have "
            f"{y.shape[-2]}x{y.shape[-1]}; choose a smaller window or a larger size."
        )
    with torch.autocast(y.device.type, enabled=False):  # variances suffer from cancellation in half precision
        g, v = gaussian(window).to(y), valid.to(y.dtype)
        y, t = y * v, t * v
        pictures = torch.cat([v, y, t, y * y, t * t, y * t])
        W, *sums = conv2d(conv2d(pictures, g), g.mT).chunk(6)
        mu_y, mu_t, yy, tt, yt = (one / torch.where(W > 0, W, 1) for one in sums)
        var_y, var_t, cov = yy - mu_y**2, tt - mu_t**2, yt - mu_y * mu_t
        S = (2 * mu_y * mu_t + C1) * (2 * cov + C2) / ((mu_y**2 + mu_t**2 + C1) * (var_y + var_t + C2))
        L: Tensor = (W * (1 - S) / 2).sum() / W.sum().clamp(min=torch.finfo(W.dtype).tiny)
    return L.clamp(min=0)  # near the truth, rounding takes S above 1


def gaussian(window: int) -> Float[Tensor, "1 1 window 1"]:
    """The weights of a window's rows, which sum to 1; as columns they are the same."""
    from kornia.filters import get_gaussian_kernel1d  # here, as the import takes 1 s

    return get_gaussian_kernel1d(window, 1.5).view(1, 1, -1, 1)


@mask_losses.register("ssim", source="Qin et al. 2019")
def mask_ssim(prediction: Prediction, batch: Batch, *, window: Window = 11) -> Float[Tensor, ""]:
    """Structural dissimilarity of the mask: pixels near the outline count most. Without unit, in [0, 1].

    Args:
        prediction: What the network says.
        batch: What is true.
        window: Side of the windows, in pixels.

    Raises:
        UserError: The pictures are smaller than a window.
    """
    z, g, valid = mask_pair(prediction, batch)
    return dissimilarity(z.sigmoid(), g, valid, window, "mask")


@depth_losses.register("ssim", source="Wang et al. 2004, eq. 13", kinds=("metric", "relative"))
def ssim(prediction: Prediction, batch: Batch, *, window: Window = 11) -> Float[Tensor, ""]:
    """Structural dissimilarity: local means, contrasts and shapes should agree. Without unit, in [0, 1].

    Args:
        prediction: What the network says.
        batch: What is true; depth of 0 or more.
        window: Side of the windows, in pixels.

    Raises:
        UserError: The pictures are smaller than a window.
    """
    y, t, valid = depth_pair(prediction, batch)
    highest = torch.where(valid, t, 0).amax((1, 2, 3), keepdim=True)
    scale = torch.where(highest > 0, highest, 1)
    return dissimilarity(y / scale, t / scale, valid, window, "depth")
