"""S-measure: structural similarity of predicted and true mask (Fan et al. 2017).

    S = α S_object + (1 - α) S_region, α = 0.5                          eq. 7
    S_object = μ O(p on the object) + (1 - μ) O(1 - p elsewhere)        eq. 6, μ the object's share of the picture
    O(x) = 2 x̄ / (x̄² + 1 + σ_x)                                         eq. 5, λ = 0.5
    S_region = Σ_k w_k ssim(p_k, g_k)                                   section 3.1: four parts around g's centroid

Without an object S = 1 - p̄; if the whole picture is object, S = p̄ (section 4.1 of the authors' code). As there,
standard deviations divide by n - 1, centroids are rounded to whole pixels, and S is clamped to 0 or more.
"""

import numpy as np
from jaxtyping import Float64
from torch import Tensor

from dmx.metrics.pixels import MaskPixels
from dmx.metrics.whole_mask import EPSILON, Mask, Probability, each
from dmx.registry import mask_metrics

ALPHA = 0.5


def structure(p: Probability, g: Mask, known: Mask) -> float:
    """S of one picture."""
    mu, here = g[known].mean(), p[known]
    if mu in (0, 1):
        return float(here.mean() if mu else 1 - here.mean())
    objects = mu * likeness(p[g]) + (1 - mu) * likeness(1 - p[known & ~g])
    return max(0.0, float(ALPHA * objects + (1 - ALPHA) * by_region(p, g, known)))


def likeness(x: Float64[np.ndarray, "N"]) -> float:
    """O(x)."""
    deviation = x.std(ddof=1) if x.size > 1 else 0.0
    return float(2 * x.mean() / (x.mean() ** 2 + 1 + deviation + EPSILON))


def by_region(p: Probability, g: Mask, known: Mask) -> float:
    """S_region: the four parts around the known object's centroid, weighted by their share of the known pixels."""
    rows, columns = (np.round(where.mean()).astype(int) + 1 for where in np.nonzero(g))
    total = 0.0
    for down in (slice(None, rows), slice(rows, None)):
        for across in (slice(None, columns), slice(columns, None)):
            part = known[down, across]
            if part.any():
                likeness_there = ssim(p[down, across][part], g[down, across][part].astype(np.float64))
                total += part.sum() / known.sum() * likeness_there
    return total


def ssim(x: Float64[np.ndarray, "N"], y: Float64[np.ndarray, "N"]) -> float:
    """4 x̄ ȳ σ_xy / ((x̄² + ȳ²)(σ_x² + σ_y²)) (eq. 3); 1 where both are 0, 0 where one is."""
    n = max(x.size - 1, EPSILON)
    dx, dy = x - x.mean(), y - y.mean()
    above = 4 * x.mean() * y.mean() * (dx * dy).sum() / n
    below = (x.mean() ** 2 + y.mean() ** 2) * ((dx**2).sum() + (dy**2).sum()) / n
    if above != 0:
        return float(above / (below + EPSILON))
    return 1.0 if below == 0 else 0.0


@mask_metrics.register(
    "s_measure",
    source="Fan et al. 2017, eq. 7",
    finish="ratio",
    higher_is_better=True,
    forms=("per_image",),
    thorough=True,
    equation="0.5 S_object + 0.5 S_region of the probability as it is, not stretched to [0, 1], over known pixels",
    version=2,
)
def s_measure(pixels: MaskPixels) -> Float64[Tensor, "B K"]:
    """Structure measure. In [0, 1]. The authors' programs stretch each picture's p to [0, 1] first; this does not."""
    return each(pixels, structure)
