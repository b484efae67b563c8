"""Pixels drawn together, for losses that compare distant ones."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

SEED = 0


def known_tuples(valid: Bool[Tensor, "B 1 H W"], size: int) -> tuple[Int[Tensor, "B K size"], Bool[Tensor, "B K"]]:
    """Tuples of `size` different known pixels of each sample, as places in the flattened picture, and which to use.

    A sample's known pixels stand in a random order, and each `size` that follow one another are a tuple: every known
    pixel is in as many as `size` of them, whether the picture is dense or nearly empty, and NaN in one cannot hide. The
    order is drawn with a fixed seed: the same pictures give the same tuples. K is H W - size + 1.
    """
    valid = valid.flatten(1)
    draw = torch.rand(valid.shape[1], generator=torch.Generator().manual_seed(SEED)).to(valid.device)
    order = torch.where(valid, draw, 2).argsort(dim=1, stable=True)  # unknown pixels last
    return order.unfold(1, size, 1), valid.gather(1, order).unfold(1, size, 1).all(-1)


def at(x: Tensor, places: Int[Tensor, "B K size"]) -> tuple[Tensor, ...]:
    """The values of x (B, 1, H, W) at the first, second, ... place of each tuple, each (B, K)."""
    return tuple(x.flatten(1).gather(1, column) for column in places.unbind(-1))
