"""Checkerboard: the share of the predicted depth's energy in patterns of period 2 or 4, minus that of the truth.

Two pixel shuffles by 2 can produce any pattern with a period of 4x4 pixels. Its frequencies are (i/4, j/4), fifteen
without (0, 0); the last shuffle alone produces those with even i and j. By Parseval the energy at these frequencies is
the sum of squares between the sixteen phases p = (row mod 4, column mod 4) of a pixel:

    detail   h = y - k * y                  k = (1 2 2 2 1)/8 along rows and along columns
    pattern  P(y) = Σ_p n_p (h̄_p - h̄)²     with n_p pixels of phase p and their mean h̄_p
    energy   E(y) = Σ (y - ȳ)²
    share    S(y) = P(y) / E(y), 0 where y is constant; checkerboard = S(y) - S(t)

The phases of h are used instead of y, because a slope in y leaks into all frequencies and can even cancel stripes of
the opposite slope. k preserves planes, so that slopes vanish in h, and blocks the fifteen frequencies, so that patterns
remain in full. Only pixels whose 5x5 neighbourhood is known count; if there are none, as in the sparse depth of a laser
scanner, the metric is undefined.
"""

import torch
from jaxtyping import Bool, Float64
from torch import Tensor
from torch.nn.functional import pad, pixel_unshuffle

from dmx.metrics.pixels import DepthPixels, total
from dmx.registry import depth_metrics

PERIOD = 4


def smooth(x: Float64[Tensor, "B 1 H W"], outside: float) -> Float64[Tensor, "B 1 H W"]:
    """The convolution k * x, with x padded by `outside`; computed by sums of two, which is faster than pooling."""
    x = pad(x, (2, 2, 2, 2), value=outside)
    for axis in (2, 3):
        for step in (1, 2, 1):  # (1 1) * (1 0 1) * (1 1) = (1 2 2 2 1)
            length = x.shape[axis] - step
            x = x.narrow(axis, 0, length) + x.narrow(axis, step, length)
    return x / 64


def fold(x: Float64[Tensor, "B 1 H W"], known: Bool[Tensor, "B 1 H W"]) -> Float64[Tensor, "B 16"]:
    """The sum of x over the known pixels of each phase."""
    down, right = (-side % PERIOD for side in x.shape[-2:])
    return pixel_unshuffle(pad(torch.where(known, x, 0), (0, right, 0, down)), PERIOD).sum((2, 3))


def pattern_and_energy(
    x: Float64[Tensor, "B 1 H W"], valid: Bool[Tensor, "B 1 H W"], known: Bool[Tensor, "B 1 H W"]
) -> tuple[Float64[Tensor, "B"], Float64[Tensor, "B"]]:
    """P(x) and E(x)."""
    # Subtract the minimum, so that a constant is exactly 0 and its rounding errors do not count as a pattern.
    x = torch.where(valid, x - torch.where(valid, x, torch.inf).amin((1, 2, 3), keepdim=True), 0)
    h = x - smooth(x, outside=0)
    n_p = fold(torch.ones_like(x), known)
    n = n_p.sum(1).clamp(min=1)
    mean_p = fold(h, known) / n_p.clamp(min=1)
    mean = total(h, known) / n
    P = (n_p * (mean_p - mean[:, None]).square()).sum(1)
    E = total((x - (total(x, known) / n)[:, None, None, None]).square(), known)
    return P, E


@depth_metrics.register(
    "checkerboard",
    source="Odena et al. 2016 and Aitken et al. 2017 describe the pattern; the measure is ours",
    finish="excess",
    higher_is_better=False,
    kinds=("metric", "relative"),
    equation="S(y) - S(t), S = sum of squares between the 4x4 phases of y - k*y over sum of squares of y around its "
    "mean, k = (1 2 2 2 1)/8 each way, where all 5x5 around are known",
    version=1,
)
def checkerboard(pixels: DepthPixels) -> Float64[Tensor, "B K"]:
    """Share of the spectral energy at periods 2 and 4 beyond the truth's. Without unit; 0 for the truth, 1 at worst.

    It is below 0 where the truth has more of it. Noise on n pixels has a share of 15 / (n - 1).
    """
    known = smooth((~pixels.valid).double(), outside=1) == 0
    sums = [*pattern_and_energy(pixels.y, pixels.valid, known), *pattern_and_energy(pixels.t, pixels.valid, known)]
    return torch.stack([*sums, known.sum((1, 2, 3)).double()], dim=1)
