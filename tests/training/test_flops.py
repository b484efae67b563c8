"""What a forward pass costs is counted without doing it, as far as shapes say it."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dmx.training.device import forward_flops


class Net(nn.Module):
    """One convolution from 3 to 4 channels with a kernel of 3, which is done twice where values say so."""

    def __init__(self, asks: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.asks = asks

    def forward(self, image: Tensor, background: Tensor | None) -> Tensor:
        found: Tensor = self.norm(self.conv(image))
        if background is not None:
            found = found + self.conv(background)
        if self.asks and bool(image.sum() == 0):
            found = found + self.conv(image)
        return found


@pytest.mark.parametrize(("asks", "background", "passes"), [(False, False, 1), (False, True, 2), (True, True, 3)])
def test_a_multiply_add_counts_as_two(asks: bool, background: bool, passes: int) -> None:
    net = Net(asks).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert forward_flops(net, (8, 10), background) == passes * 2 * (3 * 3 * 3 * 4) * (8 * 10)
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_size_that_would_take_all_memory_takes_none() -> None:
    side = 100_000  # 120 GB of pixels
    assert forward_flops(Net(asks=False), (side, side), False) == 2 * 108 * side**2


def test_of_a_real_network_it_is_what_a_real_pass_does() -> None:
    from dmx.models import DepthMaskModel
    from dmx.models.joint import identity
    from dmx.registry import models

    net: Any = models["depthmasknet"].params().bind()()
    model = DepthMaskModel(net, identity).eval()
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(image, image)
    assert forward_flops(model, (64, 96), True) == counter.get_total_flops() > 0


def test_a_defect_of_a_network_has_its_own_name() -> None:
    net = Net(asks=False)
    net.norm = nn.BatchNorm2d(5)
    with pytest.raises(RuntimeError, match="running_mean should contain 4 elements not 5"):
        forward_flops(net, (8, 10), False)
