from typing import get_args

import pytest
import torch
from helpers.receptive_field import reach
from pydantic import ValidationError
from torch.nn.functional import conv2d, gelu

from dmx.models import DepthMaskModel, describe_parameters, make_link
from dmx.models.large_kernel_unet import Kernel, LargeKernelBlock, large_kernel_unet
from dmx.quartet import DepthSpec
from dmx.registry import models


@pytest.mark.parametrize("kernel", get_args(Kernel))
def test_a_block_sees_half_a_kernel_each_way(kernel):
    assert reach(LargeKernelBlock(2, kernel), channels=2, size=41) == (kernel // 2, kernel // 2)


@pytest.mark.parametrize(("c", "kernel"), [(4, 7), (6, 13)])
def test_documented_size_of_a_block(c, kernel):
    assert describe_parameters(LargeKernelBlock(c, kernel)) == kernel**2 * c + 8 * c**2 + 8 * c


def test_a_block_is_its_equation():
    torch.manual_seed(0)
    block = LargeKernelBlock(3, 5).eval()
    x = torch.randn(1, 3, 8, 8)
    scale = (1 + 1e-5) ** -0.5  # of norms that have seen nothing
    seen = torch.cat([conv2d(x[:, [k]], block.look[0].weight[[k]], padding=2) for k in range(3)], dim=1) * scale
    W1, b1, W2 = block.think[0].weight[:, :, 0, 0], block.think[0].bias, block.think[2].weight[:, :, 0, 0]
    thought = torch.einsum("oi,bihw->bohw", W1, seen) + b1.view(-1, 1, 1)
    y = x + torch.einsum("oi,bihw->bohw", W2, gelu(thought)) * scale
    torch.testing.assert_close(block(x), y, rtol=1e-4, atol=1e-5)


def test_even_kernels_are_refused():
    with pytest.raises(ValidationError, match="Input should be 3, 5, 7, 9, 11, 13, 17, 21, 25 or 31"):
        models["large_kernel_unet"].params(kernel=8)


def test_what_passes_from_encoder_to_decoders():
    features = large_kernel_unet(width=4, kernel=3).encode(*torch.randn(2, 2, 3, 16, 32))
    assert [f.shape[1] for f in features] == [4, 8, 16, 32, 64]
    assert features[-1].shape[2:] == (1, 2)


def test_every_feature_reaches_both_tasks():
    net = large_kernel_unet(width=4, kernel=3)
    features = [f.detach().requires_grad_() for f in net.encode(*torch.randn(2, 2, 3, 32, 32))]
    for output in net.decode(features):
        assert all(g.abs().sum() > 0 for g in torch.autograd.grad(output.square().sum(), features))


def test_one_small_picture_trains():
    model = DepthMaskModel(
        large_kernel_unet(width=4, kernel=3), make_link("identity", DepthSpec("relative", 0.0, 1.0))
    ).train()
    assert model(*torch.rand(2, 1, 3, 5, 5)).depth.shape == (1, 1, 5, 5)
