import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dmx.errors import UserError
from dmx.models import describe_parameters
from dmx.models.depthmasknet import Decoder, DepthMaskNet, EncoderBlock, depthmasknet


def small(**parameters) -> DepthMaskNet:
    return depthmasknet(**{"width": 4, **parameters})


def test_the_published_network_has_its_published_size():
    assert describe_parameters(depthmasknet()) == 5_230_720


@pytest.mark.parametrize(
    ("parameters", "count"),
    [
        ({"inputs": "image"}, 5_227_744),
        ({"upsampling": "bilinear"}, 5_752_960),
        ({"upsampling": "nearest"}, 5_752_960),
        ({"skips": True}, 5_920_000),
    ],
)
def test_documented_sizes_of_variants(parameters, count):
    assert describe_parameters(depthmasknet(**parameters)) == count
    assert f"{count:,}" in depthmasknet.__doc__


@settings(max_examples=5, deadline=None)
@given(st.sampled_from([4, 8, 12, 16]))
def test_size_follows_the_description(width):
    stems, fuse, heads = 2 * (27 * width + 2 * width), 2 * width**2, 2 * 9 * width
    encoder = sum(44 * c**2 + 8 * c for c in (width, 2 * width, 4 * width, 8 * width))
    decoders = 2 * sum(2 * c**2 for c in (16 * width, 8 * width, 4 * width, 2 * width))
    assert describe_parameters(depthmasknet(width=width)) == stems + fuse + encoder + decoders + heads


def test_activations_at_192_stay_under_500_megabytes():
    """As torchinfo counts: 4 bytes for each output value of a leaf module, twice for forward and backward."""
    net, values = depthmasknet(), []
    for module in net.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda module, args, output: values.append(output.numel()))
    picture = torch.zeros(1, 3, 192, 192)
    with torch.no_grad():
        net(picture, picture)
    assert 300e6 < 2 * 4 * sum(values) < 500e6


def test_no_biases():
    assert all(module.bias is None for module in depthmasknet().modules() if isinstance(module, nn.Conv2d))


def test_the_dilated_branch_normalises_after_its_relu():
    block = EncoderBlock(4)
    assert [type(module) for module in block.plain] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    assert [type(module) for module in block.dilated] == [nn.Conv2d, nn.ReLU, nn.BatchNorm2d]
    assert block.dilated[0].dilation == (2, 2)


def test_mask_and_depth_have_decoders_of_their_own():
    net = small()
    picture = torch.randn(2, 3, 16, 16)
    mask_logits, _ = net(picture, picture)
    mask_logits.sum().backward()
    assert all(parameter.grad is None for parameter in net.depth_decoder.parameters())
    assert all(parameter.grad.abs().sum() > 0 for parameter in net.mask_decoder.parameters())


def test_both_pictures_matter():
    torch.manual_seed(0)
    net, image, background = small().eval(), *torch.randn(2, 1, 3, 16, 16)
    mask_logits, _ = net(image, background)
    assert not torch.equal(net(image, image)[0], mask_logits)
    assert not torch.equal(net(background, background)[0], mask_logits)


def test_without_a_background_it_says_what_to_do():
    with pytest.raises(UserError) as caught:
        small()(torch.zeros(1, 3, 16, 16), None)
    assert str(caught.value) == (
        "this network takes the background beside the image, but the data set has no backgrounds (triplets); "
        "set the model's inputs to 'image'."
    )


def test_with_the_image_alone_the_background_is_not_looked_at():
    net, image = small(inputs="image").eval(), torch.randn(1, 3, 16, 16)
    assert torch.equal(net(image, None)[0], net(image, torch.randn(1, 3, 16, 16))[0])


def test_what_passes_from_encoder_to_decoders():
    for skips, channels in ((True, [8, 16, 32, 64, 64]), (False, [64])):
        features = small(skips=skips).encode(*torch.randn(2, 1, 3, 32, 48))
        assert [f.shape[1] for f in features] == channels
        assert features[-1].shape[2:] == (2, 3)


def test_skips_carry_detail_past_the_bottleneck():
    """With the encoder's last output held fixed, the features before the pools still change the output."""
    torch.manual_seed(0)
    x = torch.randn(1, 64, 1, 1)
    features = [torch.randn(1, 8 * 2**k, 16 // 2**k, 16 // 2**k) for k in range(4)]
    others = [torch.randn_like(feature) for feature in features]
    for skips in (True, False):
        decoder = Decoder(4, "bilinear", skips)
        assert torch.equal(decoder(x, features), decoder(x, others)) != skips
