"""Boundary loss: each pixel's error is weighted by its distance to the outline of the object.

Source: Kervadec et al. 2019, "Boundary loss for highly unbalanced segmentation".
Equation: L = mean φ (p - g) over the known pixels, with p = σ(z) and φ the signed distance to the true outline,
negative inside. φ and p - g have the same sign everywhere, so L = mean |φ| |p - g|.
Deviations: the paper has mean φ p, whose minimum mean φ g, reached at p = g, is below 0 and depends on the truth; it is
subtracted here, which does not change the gradient. The outline runs halfway between pixels, so |φ| is the distance to
the nearest known pixel of the other class minus 1/2; the authors' code adds 1/2 to φ throughout. As there, a sample
without an outline (all object or none) has a loss of 0, so this loss must be combined with another.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dmx.losses.masked import mask_pair, masked_mean
from dmx.quartet import Batch, Prediction
from dmx.registry import mask_losses


def distances_to(pixels: Bool[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
    """The distance of each pixel to the nearest of `pixels`, in pixels; 0 on these. `pixels` must not be empty."""
    import cv2  # here, as the import takes time, even if the loss is only looked up

    return cv2.distanceTransform((~pixels).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def outline_distance(inside: Bool[Tensor, "B 1 H W"], outside: Bool[Tensor, "B 1 H W"]) -> Float[Tensor, "B 1 H W"]:
    """|φ| in pixels, on the CPU: distance to the outline between known object and known rest; 0 without outline."""
    phi = np.zeros(inside.shape, dtype=np.float32)
    for b, (o, r) in enumerate(zip(inside[:, 0].cpu().numpy(), outside[:, 0].cpu().numpy(), strict=True)):
        if o.any() and r.any():
            phi[b, 0] = np.where(o, distances_to(r), distances_to(o)) - 0.5
    return torch.from_numpy(phi)


@mask_losses.register("boundary", source="Kervadec et al. 2019", term=True)
def boundary(prediction: Prediction, batch: Batch) -> Float[Tensor, ""]:
    """Boundary loss: wrong pixels cost the more, the further they are from the outline. Unit: pixels; 0 or more.

    It says nothing of samples without an outline, so it is a term beside another loss.

    Args:
        prediction: What the network says.
        batch: What is true.
    """
    z, g, valid = mask_pair(prediction, batch)
    phi = outline_distance(valid & (g > 0.5), valid & (g <= 0.5)).to(z)
    wrongness = torch.where(g > 0.5, -z, z).sigmoid()  # |p - g|, exact where p rounds to 1
    return masked_mean(phi * wrongness, valid)
