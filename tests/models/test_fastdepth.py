import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from dmx.models import DepthMaskModel, describe_parameters, make_link
from dmx.models.depthmasknet import depthmasknet
from dmx.models.fastdepth import MobileEncoder, fastdepth
from dmx.quartet import DepthSpec


def multiply_adds(net: nn.Module) -> int:
    picture = torch.zeros(1, 3, 192, 192)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net.eval()(picture, picture)
    return counter.get_total_flops() // 2


def test_it_is_light():
    """0.40 of 7.41 billion multiply-adds, and half of the parameters."""
    net = fastdepth()
    assert describe_parameters(net) == 2_686_250
    assert multiply_adds(net) < multiply_adds(depthmasknet()) / 4


def test_the_encoder_is_mobilenet():
    """Howard et al. 2017, table 1: 4.2 million parameters, of which its classifier has 1024 * 1000 + 1000."""
    encoder = MobileEncoder(3, width=32)
    assert describe_parameters(encoder) == 4_231_976 - 1_025_000
    strides = [m.stride[0] for m in encoder.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert strides == [2, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]


def test_what_passes_from_encoder_to_decoders():
    features = fastdepth(width=4).encode(*torch.randn(2, 2, 3, 64, 32))
    assert [tuple(f.shape[1:]) for f in features] == [(8, 32, 16), (16, 16, 8), (32, 8, 4), (128, 2, 1)]


def test_the_decoder_step_by_step():
    torch.manual_seed(0)
    net = fastdepth(width=4).eval()
    features = [torch.randn(1, c, s, s) for c, s in ((8, 16), (16, 8), (32, 4), (128, 1))]

    def doubled(x):
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)

    decoder = net.mask_decoder
    x = doubled(decoder.blocks[0](features[3]))
    for block, skip in zip(decoder.blocks[1:4], features[2::-1], strict=True):
        x = doubled(block(x)) + skip
    x = decoder.head(doubled(decoder.blocks[4](x)))
    torch.testing.assert_close(net.decode(features)[0], x)


@pytest.mark.parametrize("task", [0, 1])
def test_outputs_are_squares_of_equal_pixels(task):
    with torch.no_grad():
        output = fastdepth(width=4).eval()(*torch.randn(2, 1, 3, 32, 64))[task]
    corners = output[..., ::2, ::2]
    assert torch.equal(corners.repeat_interleave(2, 2).repeat_interleave(2, 3), output)


def test_one_small_picture_trains():
    """At 32x32 the last batch norms would see one number in a batch of one, which they refuse."""
    model = DepthMaskModel(fastdepth(width=4), make_link("identity", DepthSpec("relative", 0.0, 1.0))).train()
    assert model(*torch.rand(2, 1, 3, 8, 8)).depth.shape == (1, 1, 8, 8)
