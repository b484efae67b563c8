import pytest
import torch
from helpers.receptive_field import reach
from torch.nn.functional import conv2d, relu

from dmx.models import DepthMaskModel, describe_parameters, make_link
from dmx.models.dilated_unet import DilatedBottleneck, dilated_unet
from dmx.quartet import DepthSpec


@pytest.mark.parametrize("arrangement", ["stacked", "parallel"])
@pytest.mark.parametrize("dilations", [1, 2, 3])
def test_how_far_the_bottleneck_sees(arrangement, dilations):
    """Behind the plain 3x3, stacked views reach 1 + 2 + 4 + ... further, parallel ones as far as the widest."""
    bottleneck = DilatedBottleneck(2, 3, dilations, arrangement)
    further = 2**dilations - 1 if arrangement == "stacked" else 2 ** (dilations - 1)
    assert reach(bottleneck, channels=2, size=41) == (1 + further, 1 + further)


@pytest.mark.parametrize("arrangement", ["stacked", "parallel"])
def test_the_bottleneck_adds_up_its_views(arrangement):
    torch.manual_seed(0)
    bottleneck = DilatedBottleneck(2, 3, 3, arrangement).eval()
    x = torch.randn(1, 2, 9, 9)

    def view(layer, x, dilation):
        conv, norm, _ = layer
        scale = (norm.running_var + norm.eps).rsqrt().view(-1, 1, 1)
        return relu(conv2d(x, conv.weight, padding=dilation, dilation=dilation) * scale)

    first = view(bottleneck.plain, x, 1)
    one = view(bottleneck.views[0], first, 1)
    two = view(bottleneck.views[1], one if arrangement == "stacked" else first, 2)
    three = view(bottleneck.views[2], two if arrangement == "stacked" else first, 4)
    torch.testing.assert_close(bottleneck(x), first + one + two + three, rtol=1e-4, atol=1e-5)


def test_size_follows_the_description():
    """Counted by hand for width 4 and one dilation: convolutions, norms, and heads with a bias."""
    c = [4, 8, 16, 32]
    encoder = sum(9 * (i * o + o * o) + 4 * o for i, o in zip([6, 4, 8], c, strict=False))
    bottleneck = 9 * (16 * 32 + 32 * 32) + 4 * 32
    decoder = sum(i * o + 9 * o * o + 9 * 2 * o * o + 2 * o for i, o in zip(c[1:], c, strict=False)) + 9 * 4 + 1
    net = dilated_unet(width=4, dilations=1)
    assert describe_parameters(net) == encoder + bottleneck + 2 * decoder
    assert describe_parameters(net.encoder) == encoder + bottleneck


def test_what_passes_from_encoder_to_decoders():
    features = dilated_unet(width=4).encode(*torch.randn(2, 1, 3, 16, 24))
    assert [tuple(f.shape[1:]) for f in features] == [(4, 16, 24), (8, 8, 12), (16, 4, 6), (32, 2, 3)]


def test_every_feature_reaches_both_tasks():
    net = dilated_unet(width=4)
    features = [f.detach().requires_grad_() for f in net.encode(*torch.randn(2, 2, 3, 16, 16))]
    for output in net.decode(features):
        assert all(g.abs().sum() > 0 for g in torch.autograd.grad(output.square().sum(), features))


def test_one_small_picture_trains():
    model = DepthMaskModel(dilated_unet(width=4), make_link("identity", DepthSpec("relative", 0.0, 1.0))).train()
    assert model(*torch.rand(2, 1, 3, 5, 5)).depth.shape == (1, 1, 5, 5)
