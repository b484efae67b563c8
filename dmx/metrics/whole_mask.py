"""Metrics of a mask as a whole, which are not sums over pixels: one value for each picture.

They depend on the positions of pixels; unknown pixels are neither counted nor averaged, nor part of the object. They
are slower than a network's forward pass, so only `dmx evaluate` computes them.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from dmx.metrics.pixels import MaskPixels

Probability = Float64[np.ndarray, "H W"]
Mask = Bool[np.ndarray, "H W"]
EPSILON = float(np.finfo(np.float64).eps)


def each(pixels: MaskPixels, measure: Callable[[Probability, Mask, Mask], float | None]) -> Float64[Tensor, "B 2"]:
    """Each sample's sums (value, 1); zeros if `measure` is undefined or no pixel of the mask is known.

    A NaN among the probabilities of known pixels makes the value NaN.

    Args:
        pixels: Prediction and truth.
        measure: Computes the value from one picture's probability, true object and known pixels. At unknown pixels the
            probability is 0 and the object is False.
    """
    known = pixels.valid.cpu()
    p, g = (torch.where(known, x.cpu(), 0)[:, 0].numpy() for x in (pixels.p, pixels.g))
    sums = torch.zeros(len(known), 2, dtype=torch.float64)
    for i in range(len(known)):
        if not known[i].any():
            continue
        value = float("nan") if np.isnan(p[i]).any() else measure(p[i], g[i] > 0.5, known[i, 0].numpy())
        if value is not None:
            sums[i] = torch.tensor([value, 1.0], dtype=torch.float64)
    return sums.to(pixels.p.device)
