"""Skill: how much smaller the squared error is than that of a reference that does not look at the picture.

    skill = 1 - Σ (prediction - truth)² / Σ (r - truth)²

r is the mean of the training part at each pixel: the mean depth map, or the mean mask as a probability. 1 is perfect, 0
no better than the map, and below 0 worse. It is the skill score of forecast verification with the mean of the past, the
climatology, as the reference; for depth it is the share of the variance around the map that is explained.
"""

import torch
from jaxtyping import Float64
from torch import Tensor

from dmx.metrics.pixels import DepthPixels, MaskPixels, total
from dmx.registry import depth_metrics, joint_metrics, mask_metrics


@depth_metrics.register(
    "skill",
    source="Murphy 1988, skill scores based on the mean square error",
    finish="skill",
    higher_is_better=True,
    kinds=("metric", "relative"),
    equation="1 - sum (y - t)^2 / sum (r - t)^2, r the mean of the training depths at each pixel",
    version=1,
)
def depth_skill(pixels: DepthPixels) -> Float64[Tensor, "B K"]:
    """Skill of depth against the mean depth map. At most 1; undefined without a reference, or if that has no error."""
    y, t, r = pixels.y, pixels.t, pixels.r
    if r is None:
        return torch.zeros(len(y), 2, dtype=torch.float64, device=y.device)
    return torch.stack([total((x - t).square(), pixels.valid) for x in (y, r)], dim=1)


@mask_metrics.register(
    "skill",
    source="Brier 1950; Murphy 1973, skill scores for probability forecasts",
    finish="skill",
    higher_is_better=True,
    equation="1 - sum (sigmoid(z) - g)^2 / sum (r - g)^2, r the mean of the training masks at each pixel",
    version=1,
)
def mask_skill(pixels: MaskPixels) -> Float64[Tensor, "B K"]:
    """Brier skill score against the mean mask. At most 1; undefined without a reference, or if that has no error."""
    p, g, r = pixels.p, pixels.g, pixels.r
    if r is None:
        return torch.zeros(len(p), 2, dtype=torch.float64, device=p.device)
    return pixels.sums((p - g).square(), (r - g).square())


@joint_metrics.register(
    "skill",
    source="Mean of the skills of mask and depth",
    finish="mean_skill",
    higher_is_better=True,
    forms=("pooled",),
    equation="(mask/skill + depth/skill) / 2",
    version=1,
)
def joint_skill(mask: MaskPixels, depth: DepthPixels) -> Float64[Tensor, "B K"]:
    """Mean of the skills of both tasks, as one objective for both. At most 1; undefined where one of them is."""
    return torch.cat([mask_skill(mask), depth_skill(depth)], dim=1)
