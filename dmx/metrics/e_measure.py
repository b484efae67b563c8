"""E-measure: enhanced alignment of predicted and true mask (Fan et al. 2018), the mean over thresholds.

    φ_G = G - μ_G, φ_F = F - μ_F                        eq. 1, F the mask at one threshold
    ξ = 2 φ_G φ_F / (φ_G² + φ_F²)                       eq. 2
    E = Σ (1 + ξ)² / 4 / (n - 1)                        eq. 4 and 5; the authors' program divides by n - 1, not n

F and G have two values each, so ξ has four, and E follows from the counts of the four kinds of pixels. Without an
object the sum is the number of pixels with F = 0; if the whole picture is object, the number of pixels with F = 1.
"""

import numpy as np
from jaxtyping import Float64
from torch import Tensor

from dmx.metrics.pixels import MaskPixels
from dmx.metrics.whole_mask import EPSILON, Mask, Probability, each
from dmx.registry import mask_metrics

LEVELS = 256


def alignment(p: Probability, g: Mask, known: Mask) -> float:
    """The mean of E over the thresholds k / 255, k = 0 ... 255, of p rounded down to a multiple of 1 / 255."""
    g, level = g[known], (p[known] * (LEVELS - 1)).astype(np.uint8)
    hits, false = (np.bincount(level[where], minlength=LEVELS)[::-1].cumsum()[::-1] for where in (g, ~g))
    n, objects = g.size, int(g.sum())
    if objects == 0:
        total = n - false
    elif objects == n:
        total = hits
    else:
        mu_f, mu_g = (hits + false) / n, objects / n
        kinds = ((1, 1, hits), (1, 0, objects - hits), (0, 1, false), (0, 0, n - objects - false))
        total = sum((count * enhanced(g_ - mu_g, f_ - mu_f) for g_, f_, count in kinds), np.zeros(LEVELS))
    return float(np.mean(total / (n - 1 + EPSILON)))


def enhanced(phi_g: float, phi_f: Float64[np.ndarray, "256"]) -> Float64[np.ndarray, "256"]:
    """(1 + ξ)² / 4."""
    xi = 2 * phi_g * phi_f / (phi_g**2 + phi_f**2 + EPSILON)
    return (1 + xi) ** 2 / 4


@mask_metrics.register(
    "e_measure",
    source="Fan et al. 2018, eq. 5",
    finish="ratio",
    higher_is_better=True,
    forms=("per_image",),
    thorough=True,
    equation="mean over 256 thresholds of sum (1 + xi)^2 / 4 / (n - 1) of the probability as it is, "
    "over the n known pixels",
    version=2,
)
def e_measure(pixels: MaskPixels) -> Float64[Tensor, "B K"]:
    """Mean enhanced-alignment measure. In [0, 1]; see `s_measure` for what is not stretched."""
    return each(pixels, alignment)
