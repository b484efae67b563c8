"""Alignment of predicted depth to the truth, for each picture.

    none            y
    median          y · median(t) / median(y)                           Zhou et al. 2017 (SfMLearner), for evaluation
    least squares   s y + b, (s, b) = argmin Σ (s y + b - t)²           Ranftl et al. 2022, section 5

All over the valid pixels of a picture. Relative depth that is high near the camera is an inverse depth: against metric
depth, the line is fitted in inverse depth (Ranftl et al. 2022, section 6) and then inverted. As a fitted line can give
invalid depth, fitted metric depth is clamped to the data set's range.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from dmx.metrics.pixels import DepthPixels
from dmx.quartet import DepthSpec

Alignment = Literal["none", "median", "least_squares"]


def alignments(predicted: DepthSpec, true: DepthSpec) -> tuple[Alignment, ...]:
    """The applicable alignments: scale for metric depth, scale and shift for depth of arbitrary scale."""
    if predicted.kind != true.kind or predicted.near != true.near:
        return ("least_squares",)
    return ("none", "median", "least_squares") if true.kind == "metric" else ("none", "least_squares")


def aligned(pixels: DepthPixels, how: Alignment, predicted: DepthSpec, true: DepthSpec) -> DepthPixels:
    """The pixels with `y` aligned to the truth.

    Args:
        pixels: Prediction and truth.
        how: One of `alignments(predicted, true)`.
        predicted: The depth spec of the prediction.
        true: The depth spec of the truth.
    """
    y, t, valid = pixels.y, pixels.t, pixels.valid
    if how == "none":
        return pixels
    if how == "median":
        return DepthPixels(y * (median(t, valid) / median(y, valid))[:, None, None, None], t, valid)
    inverse_y, inverse_t = (spec.kind == "relative" and spec.near == "high" for spec in (predicted, true))
    if inverse_t and predicted.kind == "metric":
        y = 1 / y.clamp(min=predicted.low)
    if inverse_y and true.kind == "metric":
        low, high = (1 / min(edge, 1e6) for edge in (true.high, max(true.low, 1e-6)))
        found = fitted(y, torch.where(valid, 1 / t, 0), valid).clamp(low, high)
        return DepthPixels(1 / found, t, valid)
    found = fitted(y, t, valid)
    return DepthPixels(found.clamp(true.low, true.high) if true.kind == "metric" else found, t, valid)


def median(x: Float64[Tensor, "B 1 H W"], valid: Bool[Tensor, "B 1 H W"]) -> Float64[Tensor, "B"]:
    """Each sample's median over its valid pixels, the mean of the two in the middle; NaN without any."""
    return torch.where(valid, x, torch.nan).flatten(1).nanquantile(0.5, dim=1)


def fitted(
    y: Float64[Tensor, "B 1 H W"], t: Float64[Tensor, "B 1 H W"], valid: Bool[Tensor, "B 1 H W"]
) -> Float64[Tensor, "B 1 H W"]:
    """The least-squares fit s y + b; the mean of t if y is constant."""

    def mean(x: Float64[Tensor, "B 1 H W"]) -> Float64[Tensor, "B 1 1 1"]:
        return torch.where(valid, x, 0).sum((1, 2, 3), keepdim=True) / valid.sum((1, 2, 3), keepdim=True)

    dy, dt = y - mean(y), t - mean(t)
    spread = mean(dy.square())
    s = torch.where(spread > 0, mean(dy * dt) / spread, 0)
    return s * dy + mean(t)
