"""Random tuples of pixels, for losses that compare distant pixels."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

SEED = 0


def known_tuples(valid: Bool[Tensor, "B 1 H W"], size: int) -> tuple[Int[Tensor, "B K size"], Bool[Tensor, "B K"]]:
    """Tuples of `size` different known pixels of each sample (indices into the flattened picture), and which are valid.

    A sample's known pixels are put in random order, and every `size` consecutive ones form a tuple. So every known
    pixel is in up to `size` tuples, in dense and sparse pictures alike, and a NaN in any pixel shows. The order has a
    fixed seed: the same pictures give the same tuples. K is H W - size + 1.
    """
    valid = valid.flatten(1)
    draw = torch.rand(valid.shape[1], generator=torch.Generator().manual_seed(SEED)).to(valid.device)
    order = torch.where(valid, draw, 2).argsort(dim=1, stable=True)  # unknown pixels last
    return order.unfold(1, size, 1), valid.gather(1, order).unfold(1, size, 1).all(-1)


def at(x: Tensor, places: Int[Tensor, "B K size"]) -> tuple[Tensor, ...]:
    """The values of x (B, 1, H, W) at the first, second, ... pixel of each tuple, each (B, K)."""
    return tuple(x.flatten(1).gather(1, column) for column in places.unbind(-1))
