import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from dmx.errors import UserError
from dmx.models import DepthMaskModel, EncoderDecoder, JointNet, describe_parameters, make_link
from dmx.models.joint import margins
from dmx.quartet import DepthSpec

METRES = DepthSpec("metric", 0.5, 8.0)
RELATIVE = DepthSpec("relative", 0.0, 1.0)


class Raw(JointNet):
    """Gives back two channels of the image, through a convolution that autocast narrows."""

    needs_background = False
    multiple = 32

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)

    def forward(self, image, background):
        return self.conv(image).split(1, dim=1)


@pytest.mark.parametrize(
    ("name", "spec", "raw", "depth"),
    [
        ("identity", METRES, -3.0, -3.0),
        ("sigmoid", METRES, 0.0, 4.25),
        ("sigmoid", METRES, math.log(3), 0.5 + 7.5 * 0.75),
        ("softplus", METRES, 0.0, 0.5 + math.log(2)),
        ("exp", METRES, 0.0, 2.0),
        ("exp", METRES, math.log(3), 6.0),
        ("exp", RELATIVE, 0.0, 0.5),
        ("auto", METRES, math.log(3), 6.0),
        ("auto", RELATIVE, math.log(3), 0.75),
        ("inverse", METRES, 0.0, 8.0),
        ("inverse", METRES, 1.0, 2.0),  # a = 1/2 - 1/8
        ("inverse", METRES, 5.0, 0.5),  # 5 * 3/8 + 1/8 = 2
        ("inverse", RELATIVE, 1.0, 0.5),
        ("inverse", DepthSpec("relative", 0.0, 1.0, "high"), 3.0, 0.75),
    ],
)
def test_links_by_hand(name, spec, raw, depth):
    assert make_link(name, spec)(torch.tensor(raw)).item() == pytest.approx(depth)


@given(st.floats(-(2.0**100), 2.0**100, width=32))
def test_images_of_the_links(raw):
    r = torch.tensor(raw)
    assert 0.5 <= make_link("sigmoid", METRES)(r) <= 8
    assert make_link("softplus", METRES)(r) >= 0.5
    for spec in (METRES, RELATIVE):
        for name in ("exp", "inverse"):
            depth = make_link(name, spec)(r)
            assert depth > 0
            assert depth.square().isfinite()
    assert make_link("inverse", METRES)(r) <= 8


@pytest.mark.parametrize("name", ["identity", "sigmoid", "softplus", "exp", "inverse"])
def test_nan_stays_nan(name):
    assert make_link(name, METRES)(torch.tensor(torch.nan)).isnan()


def giving(raw_depth, farthest=math.inf):
    """A network that gives such raw depth."""
    net = JointNet()
    net.raw_depth, net.farthest = raw_depth, farthest
    return net


def test_auto_goes_by_what_the_network_gives():
    assert make_link("auto", METRES, giving("any"))(torch.tensor(0.0)).item() == 2  # exp
    assert make_link("auto", METRES, giving("disparity"))(torch.tensor(0.0)).item() == 8
    assert make_link("auto", METRES, giving("metres", 20))(torch.tensor(3.0)).item() == 3
    for spec, text in ((DepthSpec("metric", 0.5, 80.0), "goes to 80 m"), (RELATIVE, "is relative")):
        with pytest.raises(UserError, match=f"metres up to 20, but that of the data set {text}; take a model or"):
            make_link("auto", spec, giving("metres", 20))
        assert make_link("identity", spec, giving("metres", 20))(torch.tensor(3.0)).item() == 3


def test_the_scale_of_disparity_is_fitted_by_medians():
    link = make_link("inverse", METRES)
    assert link.fit(torch.tensor([1.0, 30.0, 900.0]), torch.tensor([1.6, 8.0, 0.5]))
    assert link.a.item() == pytest.approx((1 / 1.6 - 1 / 8) / 30)
    assert link(torch.tensor(30.0)).item() == pytest.approx(1.6)
    turned = make_link("inverse", DepthSpec("relative", 0.0, 1.0, "high"))
    assert turned.fit(torch.tensor([20.0]), torch.tensor([0.75]))
    assert turned(torch.tensor(20.0)).item() == pytest.approx(0.75)


@pytest.mark.parametrize(("raw", "depth"), [([0.0, 0.0], [1.0, 2.0]), ([3.0, 4.0], [8.0, 8.0]), ([], [])])
def test_a_scale_that_makes_no_sense_is_not_taken(raw, depth):
    link = make_link("inverse", METRES)
    assert not link.fit(torch.tensor(raw), torch.tensor(depth))
    assert link.a.item() == pytest.approx(1 / 2 - 1 / 8)


def test_the_link_is_applied_in_full_precision():
    torch.manual_seed(0)
    model = DepthMaskModel(Raw(), make_link("exp", METRES))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        image = torch.randn(1, 3, 8, 8)
        raw = model.net((image - model.mean) / model.std, None)[1]
        prediction = model(image, None)
    assert raw.dtype == torch.bfloat16
    assert (prediction.depth.dtype, prediction.mask_logits.dtype) == (torch.float32, torch.float32)
    assert torch.equal(prediction.depth, 2 * raw.float().exp())


class Seen(Raw):
    """Keeps what it is given."""

    def forward(self, image, background):
        self.seen = image, background
        return super().forward(image, background)


def test_pictures_are_normalised_by_what_is_kept_with_the_weights():
    net = Seen()
    model = DepthMaskModel(net, make_link("identity", METRES), ((0.5, 0.25, 0.0), (0.5, 0.25, 2.0)))
    image = torch.tensor([1.0, 0.75, 1.0]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    model(image, image / 2)
    assert net.seen[0][0, :, 0, 0].tolist() == [1.0, 2.0, 0.5]
    assert net.seen[1][0, :, 0, 0].tolist() == [0.0, 0.5, 0.25]
    assert {"mean", "std"} <= model.state_dict().keys()
    other = DepthMaskModel(Seen(), make_link("identity", METRES))
    assert other.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    other.load_state_dict(model.state_dict())
    assert other.std.flatten().tolist() == [0.5, 0.25, 2.0]


class Steps(Seen):
    """Takes multiples of 32 from 64 on."""

    least = 64


@pytest.mark.parametrize(
    ("side", "padded"), [(64, (0, 0)), (96, (0, 0)), (65, (15, 16)), (33, (15, 16)), (1, (31, 32))]
)
def test_a_size_that_the_network_cannot_take_is_padded_as_little_as_will_do(side, padded):
    assert margins(side, Steps()) == padded


def test_padding_repeats_the_border_and_is_cropped_again():
    net = Steps()
    model = DepthMaskModel(net, make_link("identity", METRES), ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
    image = torch.rand(2, 3, 60, 96)
    prediction = model(image, image)
    assert net.seen[0].shape == net.seen[1].shape == (2, 3, 64, 96)
    assert torch.equal(net.seen[0][:, :, :3], image[:, :, :1].expand(-1, -1, 3, -1))
    assert torch.equal(net.seen[0][:, :, -3:], image[:, :, -1:].expand(-1, -1, 3, -1))
    assert torch.allclose(prediction.depth, net.conv(image)[:, 1:], atol=1e-6)
    assert torch.allclose(prediction.mask_logits, net.conv(image)[:, :1], atol=1e-6)


class Halves(EncoderDecoder):
    """An encoder of one convolution and two heads."""

    multiple = 4

    def __init__(self):
        super().__init__()
        self.encoder, self.head = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(5, 2, 1)

    def encode(self, image, background):
        return [self.encoder(image)]

    def decode(self, features):
        return self.head(features[0]).split(1, dim=1)


def test_the_halves_are_the_whole():
    model = DepthMaskModel(Halves(), make_link("sigmoid", METRES))
    image = torch.rand(2, 3, 10, 8)
    halves, whole = model.decode(model.encode(image, None), image), model(image, None)
    assert torch.equal(halves.depth, whole.depth)
    assert torch.equal(halves.mask_logits, whole.mask_logits)


def test_a_network_in_one_piece_says_so():
    with pytest.raises(UserError) as caught:
        DepthMaskModel(Raw(), make_link("sigmoid", METRES)).encode(torch.rand(1, 3, 32, 32), None)
    assert str(caught.value) == (
        "a weighting on features needs a network that tells what its tasks share, but Raw has no `encode` and "
        "`decode` (dmx.models.EncoderDecoder); set the weighting's `gradients_of` to parameters."
    )


def test_parameters_are_counted():
    assert describe_parameters(Raw()) == 3 * 2 + 2
