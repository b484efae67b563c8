"""How far a network looks."""

import torch
from torch import nn


def reach(net: nn.Module, channels: int, size: int) -> tuple[int, int]:
    """How many rows and columns away the centre of an odd `size` looks, by its gradient on random pictures."""
    torch.manual_seed(0)
    x = torch.randn(8, channels, size, size, requires_grad=True)
    net.eval()(x)[:, :, size // 2, size // 2].sum().backward()
    assert x.grad is not None
    rows, columns = x.grad.abs().sum((0, 1)).nonzero().sub(size // 2).abs().amax(0).tolist()
    return rows, columns
