"""Virtual normals: the difference of predicted and true normals of planes through three distant points.

Source: Yin et al. 2019, "Enforcing geometric constraints of virtual normal for depth prediction".
Equation: P = d ((u - u0) / f, (v - v0) / f, 1) of the pixel (u, v) for d = y and d = t; n = (P_b - P_a) x (P_c - P_a)
of three pixels a, b, c; L = mean |n_y/|n_y| - n_t/|n_t||_1 over triples whose true triangle is neither narrow nor
small.
Deviations: f is a parameter and (u0, v0) the picture's centre, as data sets need not have camera parameters. Narrow
means an angle below 30 degrees; the paper requires two angles between 30 and 120. Small means a side below a share of
the triangle's mean depth instead of 0.6 m, for independence of the unit. All triples count, not only the worst three
quarters. Each known pixel is in three random triples, the same ones at each step (`sampling`). If the sine of the
predicted triangle's angle at a is below 0.001, or its area below 0.001 of the true one's, the direction of its normal
is noise with huge gradients; |n_y| is then clamped to its value at that threshold.
"""

from math import cos, radians
from typing import Annotated

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor

from dmx.losses.masked import depth_pair
from dmx.losses.sampling import known_tuples
from dmx.quartet import Batch, Prediction
from dmx.registry import Range, depth_losses

NARROW = cos(radians(30))
FLAT = 1e-3


def points(d: Float[Tensor, "B 1 H W"], focal: float) -> Float[Tensor, "B 3 H W"]:
    """P of each pixel, in the depth's unit; `focal` in units of the picture's longer side."""
    H, W = d.shape[-2:]
    v, u = torch.meshgrid(
        *(torch.arange(n, dtype=d.dtype, device=d.device) - (n - 1) / 2 for n in (H, W)), indexing="ij"
    )
    f = focal * max(H, W)
    return torch.cat([d * u / f, d * v / f, d], dim=1)


def corners(
    d: Float[Tensor, "B 1 H W"], triples: Int[Tensor, "B K 3"], focal: float
) -> tuple[Float[Tensor, "B K 3"], ...]:
    """The points of the first, second and third pixel of each triple."""
    P = points(d, focal).flatten(2).mT
    return tuple(P.gather(1, column[..., None].expand(-1, -1, 3)) for column in triples.unbind(-1))


def is_wide(a: Tensor, b: Tensor, c: Tensor, reach: float) -> Bool[Tensor, "B K"]:
    """Whether the triangles a, b, c (B, K, 3) have no angle below 30 degrees and no side below `reach` mean depths."""
    wide = torch.ones_like(a[..., 0], dtype=torch.bool)
    least = reach * (a + b + c)[..., 2] / 3
    for p, q, r in ((a, b, c), (b, c, a), (c, a, b)):
        side, other = (q - p).norm(dim=-1), (r - p).norm(dim=-1)
        wide &= (side > least) & (((q - p) * (r - p)).sum(-1) < NARROW * side * other)
    return wide


@depth_losses.register("virtual_normals", source="Yin et al. 2019", kinds=("metric",), term=True)
def virtual_normals(
    prediction: Prediction,
    batch: Batch,
    *,
    focal: Annotated[float, Field(gt=0.1, le=10)] = 1.0,
    reach: Annotated[float, Field(ge=0, le=1), Range(0.05, 0.4)] = 0.2,
) -> Float[Tensor, ""]:
    """Virtual normals: the layout of the scene counts, beyond what neighbours say. Without unit; 0 or more.

    It is 0 for a prediction that is wrong by a factor, so it is a term beside another loss.

    Args:
        prediction: What the network says; depth above 0.
        batch: What is true; depth above 0.
        focal: f in greater sides of the picture; 1 is a field of view of 53 degrees.
        reach: The least side of a true triangle, as a share of its mean depth.
    """
    y, t, valid = depth_pair(prediction, batch)
    triples, known = known_tuples(valid, 3)
    a, b, c = corners(t, triples, focal)
    used, n_t = known & is_wide(a, b, c, reach), torch.linalg.cross(b - a, c - a)
    a, b, c = corners(y, triples, focal)
    n_y = torch.linalg.cross(b - a, c - a)
    sides, length = ((b - a).norm(dim=-1) * (c - a).norm(dim=-1))[..., None], n_t.norm(dim=-1, keepdim=True)
    least = torch.where(used[..., None], FLAT * torch.maximum(sides, length), 1)  # 1: any value but 0
    n_y = n_y / torch.maximum(n_y.norm(dim=-1, keepdim=True), least)
    n_t = n_t / torch.where(used[..., None], length, 1)
    L = (n_y - n_t).abs().sum(-1)
    return torch.where(known, used * L, 0).sum() / used.sum().clamp(min=1)  # times 0 so that NaN stays NaN
