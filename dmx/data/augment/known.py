"""Keep known depth that a nearest-neighbour warp would lose where sparse depth is shrunk.

A new pixel takes the value of the source pixel nearest to where it comes from. Where that one is unknown, the known
source pixel that lands in the new pixel, nearest to its centre, is used instead. Dense depth is not affected.
"""

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from dmx.data.augment.steps import Matrix

Depth = Float32[np.ndarray, "H W"]
Known = Bool[np.ndarray, "H W"]


def kept(given: tuple[Depth, Known], moved: tuple[Depth, Known], matrix: Matrix) -> None:
    """Fill unknown pixels of `moved`, in place, with the known depth of `given` that lands in them.

    Args:
        given: Depth and its validity mask before the warp.
        moved: The same after the warp.
        matrix: The homography, given -> new, in pixels.
    """
    (depth, known), (new_depth, new_known) = given, moved
    if known.all() or new_known.all():
        return
    height, width = known.shape
    # a known pixel can only be lost near unknown ones, within a reach set by the side that shrinks most
    reach = 2 * int(np.ceil(2 * _shrinking(matrix, height, width))) + 1
    ys, xs = np.nonzero(known & (cv2.dilate((~known).view(np.uint8), np.ones((reach, reach), np.uint8)) > 0))
    x, y, z = matrix @ np.stack([xs, ys, np.ones_like(xs)])
    x, y = x / z, y / z
    columns, rows = np.rint(x).astype(np.intp), np.rint(y).astype(np.intp)
    inside = np.flatnonzero((columns >= 0) & (columns < width) & (rows >= 0) & (rows < height) & (z > 0))
    free = inside[~new_known[rows[inside], columns[inside]]]
    places = rows[free] * width + columns[free]
    apart = np.square(x[free] - columns[free]) + np.square(y[free] - rows[free])
    nearest = np.lexsort((apart, places))
    nearest = nearest[np.flatnonzero(np.diff(places[nearest], prepend=-1))]  # the first for each place
    new_depth.flat[places[nearest]] = depth[ys[free[nearest]], xs[free[nearest]]]
    new_known.flat[places[nearest]] = True


def _shrinking(matrix: Matrix, height: int, width: int) -> float:
    """Return the greatest ratio of old to new length over the picture's four sides, at least 1."""
    corners = np.array([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1]]).T
    x, y, z = matrix @ corners
    sides = np.hypot(*(np.roll(one, 1) - one for one in (x / z, y / z)))
    return float(max(1.0, (np.array([height, width, height, width]) / sides).max()))


def kept_batch(
    given: tuple[Float[Tensor, "N 1 H W"], Bool[Tensor, "N 1 H W"]],
    moved: tuple[Float[Tensor, "N 1 H W"], Bool[Tensor, "N 1 H W"]],
    matrices: Float[Tensor, "N 3 3"],
) -> tuple[Float[Tensor, "N 1 H W"], Bool[Tensor, "N 1 H W"]]:
    """Return `moved` filled as by `kept`, for a batch, without host-device synchronisation."""
    shape = given[0].shape
    (depth, known), (new_depth, new_known) = ([one.flatten(1) for one in pair] for pair in (given, moved))
    number = torch.arange(depth.shape[1], device=depth.device)
    grid = torch.stack([number % shape[-1], number // shape[-1], torch.ones_like(number)]).to(matrices.dtype)
    # a sum, not a matrix product, which autocast and TF32 would compute in low precision
    x, y, z = (matrices[:, :, :, None] * grid[None, None]).sum(dim=2).unbind(1)
    x, y = x / z, y / z
    columns, rows = x.round(), y.round()
    inside = (columns >= 0) & (columns < shape[-1]) & (rows >= 0) & (rows < shape[-2]) & (z > 0)
    place = torch.where(inside, rows * shape[-1] + columns, 0).long()
    lands = inside & known & ~new_known.gather(1, place)
    apart = torch.where(lands, (x - columns).square() + (y - rows).square(), torch.inf)
    least = torch.full_like(apart, torch.inf).scatter_reduce(1, place, apart, "amin")
    nearest = torch.where(lands & (apart == least.gather(1, place)), number, len(number))
    source = torch.full_like(nearest, len(number)).scatter_reduce(1, place, nearest, "amin")
    filled = source < len(number)
    value = depth.gather(1, source.clamp(max=len(number) - 1))
    return torch.where(filled, value, new_depth).view(shape), (filled | new_known).view(shape)
