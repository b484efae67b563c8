"""The ways to double height and width: what they start as, and which patterns they can make."""

from typing import get_args

import pytest
import torch
from torch.nn.functional import interpolate

from dmx.metrics.checkerboard import checkerboard
from dmx.metrics.pixels import DepthPixels
from dmx.models.upsampling import Mode, blur, upsampler
from dmx.sample_table import excess

MODES = get_args(Mode)


def up(mode: Mode, x: torch.Tensor, channels_out: int = 3) -> torch.Tensor:
    torch.manual_seed(0)
    with torch.no_grad():
        return upsampler(x.shape[1], channels_out, mode)(x)


def small_side(mode: Mode, x: torch.Tensor) -> torch.Tensor:
    """What a pixel shuffle that starts as an interpolation interpolates."""
    torch.manual_seed(0)
    weight = upsampler(x.shape[1], 3, mode)[0].weight[::4]
    return torch.nn.functional.conv2d(x, weight).detach()


@pytest.mark.parametrize("mode", MODES)
def test_doubles_height_and_width_of_any_size(mode):
    for size in ((1, 1), (3, 5), (4, 4)):
        assert up(mode, torch.randn(2, 8, *size)).shape == (2, 3, 2 * size[0], 2 * size[1])


@pytest.mark.parametrize(("mode", "count"), [(m, 4 * 8 * 3 if "shuffle" in m else 8 * 3 + 9 * 9) for m in MODES])
def test_documented_sizes(mode, count):
    assert sum(p.numel() for p in upsampler(8, 3, mode).parameters()) == count


def test_icnr_starts_as_nearest_neighbour_upsampling():
    x = torch.randn(2, 8, 3, 4)
    mode = "pixel_shuffle_icnr"
    torch.testing.assert_close(up(mode, x), interpolate(small_side(mode, x), scale_factor=2, mode="nearest"))


def test_icnr_with_blur_starts_as_bilinear_interpolation():
    x = torch.randn(2, 8, 3, 4)
    mode = "pixel_shuffle_blur"
    torch.testing.assert_close(up(mode, x), interpolate(small_side(mode, x), scale_factor=2, mode="bilinear"))


@pytest.mark.parametrize("mode", MODES)
def test_only_the_published_one_starts_with_a_pattern_on_a_constant(mode):
    inside = up(mode, torch.ones(1, 8, 4, 4))[..., 1:-1, 1:-1]  # around it are the zeros outside of the picture
    assert (inside.std((2, 3)).max() > 0.1) == (mode == "pixel_shuffle")


@pytest.mark.parametrize("mode", MODES)
def test_whether_any_weights_can_make_a_pattern_of_a_constant(mode):
    """Blur and interpolation forbid it whatever was learned; ICNR is a start, from which training may go."""
    torch.manual_seed(1)
    net = upsampler(8, 3, mode)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_()
        inside = net(torch.ones(1, 8, 4, 4))[..., 1:-1, 1:-1]
    assert (inside.std((2, 3)).max() > 0.1) == (mode in ("pixel_shuffle", "pixel_shuffle_icnr"))


def test_the_blur_by_hand():
    """Weights 1 2 1 along each axis over 16; the outermost pixels go on outside."""
    x = torch.zeros(1, 1, 5, 5)
    x[..., 2, 2] = 16
    blurred = torch.nn.Sequential(*blur())
    assert blurred(x)[0, 0, 1:4, 1:4].tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
    assert torch.equal(blurred(torch.ones(1, 1, 3, 3)), torch.ones(1, 1, 3, 3))
    assert blurred(torch.tensor([[[[4.0, 8.0]]]])).tolist() == [[[[5.0, 7.0]]]]


@pytest.mark.parametrize("mode", MODES)
def test_the_metric_sees_what_two_of_them_make_of_a_constant(mode):
    """Two published shuffles give nothing but a pattern of period 4, which is a share of 1; the others give none."""
    torch.manual_seed(0)
    with torch.no_grad():
        y = torch.nn.Sequential(upsampler(16, 8, mode), upsampler(8, 1, mode))(torch.ones(1, 16, 8, 8))
    y = y[..., 4:-4, 4:-4].double()  # around it are the zeros outside of the picture
    y = (y * 1e4).round()  # float32 leaves patterns of its own
    share = excess(checkerboard(DepthPixels(y, torch.ones_like(y), torch.ones_like(y, dtype=torch.bool))))
    assert share.item() == pytest.approx(1.0 if mode == "pixel_shuffle" else 0.0)


@pytest.mark.parametrize("mode", MODES)
def test_gradients_are_those_of_its_values(mode):
    net = upsampler(2, 1, mode).double()
    assert torch.autograd.gradcheck(net, torch.randn(1, 2, 2, 3, dtype=torch.float64, requires_grad=True))
