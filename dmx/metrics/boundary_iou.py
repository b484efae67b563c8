"""Boundary IoU: intersection over union of the masks' pixels near their own outlines (Cheng et al. 2021).

An outline runs between known pixels inside and outside of a mask, and along the picture's edge, but not along the
border of an unknown region.
"""

import cv2
import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from dmx.metrics.pixels import MaskPixels
from dmx.metrics.whole_mask import Mask
from dmx.registry import mask_metrics

SHARE = 0.02
"""The distance d as a share of the picture's diagonal (section 4.2)."""


def rim(mask: Mask, known: Mask, distance: int) -> Mask:
    """The known pixels of a mask within `distance` of a known pixel that is not in it, or of the picture's edge."""
    inside = cv2.copyMakeBorder((mask | ~known).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    eroded = cv2.erode(inside, np.ones((3, 3), np.uint8), iterations=distance)[1:-1, 1:-1]
    near: Mask = mask & known & (eroded == 0)
    return near


@mask_metrics.register(
    "boundary_iou",
    source="Cheng et al. 2021, eq. 2",
    finish="ratio",
    higher_is_better=True,
    thorough=True,
    equation="|(P_d and P) and (G_d and G)| / |(P_d and P) or (G_d and G)|, d = max(1, round(0.02 diagonal)), "
    "P where the logit is above 0, _d near a known pixel of the other kind or the picture's edge",
    version=2,
)
def boundary_iou(pixels: MaskPixels) -> Float64[Tensor, "B K"]:
    """Boundary IoU. In [0, 1]; undefined where neither mask has an outline among the known pixels."""
    height, width = pixels.g.shape[-2:]
    distance = max(1, round(SHARE * float(np.hypot(height, width))))
    valid = pixels.valid.cpu()
    broken = (pixels.hard.isnan() & pixels.valid).any((1, 2, 3))
    sums = []
    for hard, true, known in zip(pixels.hard.cpu(), pixels.g.cpu(), valid, strict=True):
        P, G = (rim(x[0].numpy() > 0.5, known[0].numpy(), distance) for x in (hard, true))
        sums.append([float((P & G).sum()), float((P | G).sum())])
    found = torch.tensor(sums, dtype=torch.float64).to(pixels.p.device)
    return torch.where(broken[:, None], torch.nan, found)
