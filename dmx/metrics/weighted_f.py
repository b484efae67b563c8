"""Weighted F-measure: errors are weighted by their position (Margolin et al. 2014), β² = 1.

E = |g - p|; for EA, E outside of the object is that of the nearest object pixel
EA = K * E                                          eq. 7: K a Gaussian of 7x7, σ = 5
E_w = min(E, EA) on the object, E B elsewhere       eq. 8 and 9
B = 2 - exp(ln(1/2) / 5 Δ)                          eq. 6: Δ the distance to the object
R = 1 - mean of E_w on the object, P = TP_w / (TP_w + FP_w), F = 2 R P / (R + P)     eq. 10 to 13

All over known pixels; for EA, E of an unknown pixel is also that of the nearest known object pixel.
"""

import cv2
import numpy as np
from jaxtyping import Float64
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from dmx.metrics.pixels import MaskPixels
from dmx.metrics.whole_mask import EPSILON, Mask, Probability, each
from dmx.registry import mask_metrics

SIDE, SIGMA, HALF = 7, 5.0, 5.0


def weighted(p: Probability, g: Mask, known: Mask) -> float:
    """F of one picture; 0 without an object, as in the authors' program."""
    if not g.any():
        return 0.0
    distance, (rows, columns) = distance_transform_edt(~g, return_indices=True)
    E = np.abs(g - p)
    nearest = np.where(g, E, E[rows, columns])
    bell = cv2.getGaussianKernel(SIDE, SIGMA)
    EA = cv2.filter2D(nearest, cv2.CV_64F, bell @ bell.T, borderType=cv2.BORDER_CONSTANT)
    B = np.where(g, 1.0, 2 - np.exp(np.log(0.5) / HALF * distance))
    E_w = np.where(g & (EA < E), EA, E) * B
    recall = 1 - E_w[g].mean()
    hits, false = g.sum() - E_w[g].sum(), E_w[known & ~g].sum()
    precision = hits / (hits + false + EPSILON)
    return float(2 * recall * precision / (recall + precision + EPSILON))


@mask_metrics.register(
    "weighted_f",
    source="Margolin et al. 2014, eq. 13",
    finish="ratio",
    higher_is_better=True,
    forms=("per_image",),
    thorough=True,
    equation="2 R_w P_w / (R_w + P_w) of the probability as it is; 0 without an object",
    version=1,
)
def weighted_f(pixels: MaskPixels) -> Float64[Tensor, "B K"]:
    """Weighted F-measure. In [0, 1]; see `s_measure` for what is not stretched."""
    return each(pixels, weighted)
