"""Every architecture in every form; what its combinations refuse; and the cross-stitch by hand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn

from dmx.errors import UserError
from dmx.models import DepthMaskModel, make_link
from dmx.models.smp import deeplabv3, dpt, fpn, pan, pspnet, unet, unetplusplus, upernet
from dmx.models.smp.encoders import check_encoder, check_weights, encoders, licence, timm_models, weights_of
from dmx.models.smp.network import DETAILS, CrossStitch, DetailHead, SmpNet
from dmx.quartet import DepthSpec
from dmx.registry import models

ARCHITECTURES = sorted(name for name, one in models.items() if "segmentation-models-pytorch" in one.source)
FAMILIES = {  # two or three of each, and who takes them
    "fpn": ("dpn68", "vgg11_bn", "se_resnet50", "densenet121", "efficientnet-b1", "mit_b0", "mobileone_s0", "xception"),
    "unet": ("inceptionv4", "resnext50_32x4d", "tu-convnext_atto", "tu-swin_tiny_patch4_window7_224", "tu-vgg11"),
    "pan": ("mobilenet_v2", "efficientnet-b0", "tu-resnet10t"),
    "segformer": ("mit_b1", "tu-convnext_atto"),
    "pspnet": ("efficientnet-b0", "mit_b0", "tu-mobilevit_xxs"),
    "dpt": ("tu-vit_small_patch32_224", "tu-vit_tiny_patch16_dinov3_qkvb", "tu-vit_small_patch14_reg4_dinov2"),
}


def predicted(net, size=(64, 32), batch=2):
    torch.manual_seed(0)
    model = DepthMaskModel(net, make_link("sigmoid", DepthSpec("metric", 0.5, 8.0)))
    image, background = torch.rand(2, batch, 3, *size)
    return model(image, background)


def test_there_are_twelve():
    assert len(ARCHITECTURES) == 12


@pytest.mark.parametrize("form", ["shared", "two_decoders", "cross_stitch"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_form_of_every_architecture_learns_from_two_stems(name, form):
    net = models[name].params(form=form, inputs="two_stems").bind()()
    prediction = predicted(net.train())
    assert prediction.depth.shape == prediction.mask_logits.shape == (2, 1, 64, 32)
    (prediction.depth.mean() + prediction.mask_logits.mean()).backward()
    assert [key for key, p in net.named_parameters() if p.grad is None] == []
    assert len(net.decoders) == (1 if form == "shared" else 2)
    for tasks in (net.heads, net.decoders):
        weights = [[p for p in one.parameters() if p.dim() > 1] for one in tasks]
        assert all(not torch.equal(*pair) for pair in zip(*weights, strict=True) if len(pair) == 2)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_learns_with_details(name):
    net = models[name].params(form="cross_stitch" if name == "unet" else "shared", details=True).bind()()
    prediction = predicted(net.train())
    assert prediction.depth.shape == prediction.mask_logits.shape == (2, 1, 64, 32)
    (prediction.depth.mean() + prediction.mask_logits.mean()).backward()
    assert [key for key, p in net.named_parameters() if p.grad is None] == []


def test_details_reach_the_output_at_full_size():
    """By hand: the decoder's part is 0, both convolutions hand the first feature on, and the norm changes nothing."""
    head = DetailHead(4).eval()
    for weight in (head.narrow.weight, head.narrow.bias, head.mix[0].weight, head.mix[3].weight, head.mix[3].bias):
        nn.init.zeros_(weight)
    head.mix[0].weight.data[0, DETAILS, 1, 1] = head.mix[3].weight.data[0, 0, 1, 1] = 1
    details = torch.rand(2, DETAILS, 6, 8)
    found = head(torch.rand(2, 4, 3, 4), details)
    torch.testing.assert_close(found[:, 0], details[:, 0], rtol=1e-4, atol=0)


@pytest.mark.parametrize("details", [False, True])
@pytest.mark.parametrize("name", ["unet", "segformer", "deeplabv3", "dpt"])
def test_what_passes_between_the_halves_is_learned(name, details):
    """A weighting on features needs their gradients: no copy of the input and no place-holder is among them."""
    net = models[name].params(form="two_decoders", details=details).bind()().train()
    image, background = torch.rand(2, 2, 3, 64, 64)
    features = net.encode(image, background)
    assert all(feature.requires_grad and feature.numel() > 0 for feature in features)
    mask_logits, depth_raw = net.decode(features)
    assert mask_logits.shape == depth_raw.shape == (2, 1, 64, 64)


def test_two_decoders_do_not_touch_each_other():
    net = unet(form="two_decoders")
    predicted(net).depth.mean().backward()
    assert all(p.grad is None for p in net.decoders[0].parameters())
    assert all(p.grad is not None for p in [*net.decoders[1].parameters(), *net.encoder.parameters()])


def test_cross_stitch_by_hand():
    unit = CrossStitch(2)
    with torch.no_grad():
        unit.alpha[:, :, 1] = torch.tensor([[1.0, 2.0], [3.0, -1.0]])
    A, B = torch.tensor([10.0, 5.0]).view(1, 2, 1, 1), torch.tensor([20.0, 7.0]).view(1, 2, 1, 1)
    mixed = unit([A, B])
    assert mixed[0].flatten().tolist() == pytest.approx([0.9 * 10 + 0.1 * 20, 5 + 2 * 7])
    assert mixed[1].flatten().tolist() == pytest.approx([0.1 * 10 + 0.9 * 20, 3 * 5 - 7])


@given(st.floats(-100, 100))
def test_cross_stitch_leaves_alike_what_is_alike(value):
    """Its rows sum up to one at the start."""
    x = torch.full((1, 3, 2, 2), value)
    assert all(torch.allclose(one, x, rtol=1e-5, atol=1e-6) for one in CrossStitch(3)([x, x]))


def test_cross_stitch_lets_each_task_teach_the_other():
    net = unet(form="cross_stitch")
    predicted(net).depth.mean().backward()
    assert all(p.grad is not None for p in net.decoders[0].parameters())


def test_the_unused_is_left_out():
    """PSPNet looks at an eighth of the size: the last two stages of a ResNet-18, 10.5 million parameters, are idle."""
    net = pspnet(inputs="image")
    assert sum(p.numel() for p in net.encoder.parameters()) == 683_072  # conv1, bn1, layer1, layer2 of ResNet-18
    assert not any(isinstance(m, nn.Conv2d) for m in net.encoder.layer4.modules())


def test_networks_can_be_built_where_gradients_are_off():
    with torch.no_grad():
        assert all(p.requires_grad for p in fpn(inputs="image").parameters())


@pytest.mark.parametrize(
    ("build", "encoder", "text"),
    [
        (deeplabv3, "vgg11", "take an encoder whose strides can be replaced by dilation (no VGG, "),
        (unetplusplus, "mit_b0", "a 32nd of the size (no Mix Transformer), for instance resnet18."),
        (unet, "tu-maxvit_nano_rw_256", "a 32nd of the size, and of any size, for instance resnet18."),
        (
            dpt,
            "resnet18",
            "take a vision transformer of timm with patches of 8, 14, 16 or 32 pixels and positions for any",
        ),
    ],
)
def test_what_cannot_be_built_ends_in_one_message(build, encoder, text):
    with pytest.raises(UserError) as caught:
        build(encoder=encoder)
    assert f" cannot be built with encoder '{encoder}' (" in str(caught.value)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("build", [deeplabv3, pan, upernet])
def test_one_picture_is_too_few_to_train_with_where_features_are_pooled_to_one_place(build):
    net = build(inputs="image")
    assert models[build.__name__].facts["least_batch"] == 2
    assert predicted(net.eval(), batch=1).depth.shape == (1, 1, 64, 32)
    with pytest.raises(UserError, match="needs 2 pictures in each training batch, but got 1; raise batch_size"):
        predicted(net.train(), batch=1)


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if models[name].facts["least_batch"] == 1])
def test_elsewhere_one_picture_is_enough(name):
    assert predicted(models[name].params().bind()().train(), (20, 20), batch=1).depth.isfinite().all()


def test_every_encoder_is_known():
    names = [*encoders(), *(f"tu-{name}" for name in timm_models())]
    assert len(names) > 1400
    assert [check_encoder(name) for name in names] == names


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"encoder": "tu-resnet81"}, "timm has no model 'resnet81'; did you mean 'tu-resnet"),
        ({"encoder": "tu-resnet18.a1_in1k"}, "names weights too; write encoder=tu-resnet18 and weights=a1_in1k"),
        ({"encoder": "timm-efficientnet-b0"}, "no encoder 'timm-efficientnet-b0'; did you mean 'efficientnet-b0'"),
        ({"weights": "imagenett"}, "no weights 'imagenett'; did you mean 'imagenet'?"),
        ({"inputs": "three_stems"}, "'two_stems'"),
    ],
)
def test_wrong_names_are_refused(parameters, text):
    with pytest.raises(ValidationError) as caught:
        models["unet"].params(**parameters)
    assert text in str(caught.value)


def test_weights_are_named_as_the_libraries_name_them():
    assert {"imagenet", "ssl", "swsl"} == set(weights_of("resnet18"))
    assert "a1_in1k" in weights_of("tu-resnet18")
    assert weights_of("tu-resnet18")["a1_in1k"].repo == "timm/resnet18.a1_in1k"
    assert [check_weights(name) for name in ("swsl", "a1_in1k")] == ["swsl", "a1_in1k"]
    with pytest.raises(UserError, match=r"'tu-resnet18' has no pretrained weights 'imagenet' \(only a1_in1k, "):
        unet(encoder="tu-resnet18", weights="imagenet")


def test_licences_are_told_where_they_are_known():
    assert licence("resnet18") == "unknown"
    assert licence("tu-resnet18.") is None
    assert licence("tu-vit_small_patch16_dinov3") == "dinov3-license"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "encoder"), [(name, e) for name, es in FAMILIES.items() for e in es])
def test_families_of_encoders_are_built(name, encoder):
    net = models[name].params(encoder=encoder).bind()().eval()
    assert isinstance(net, SmpNet)
    with torch.no_grad():
        assert predicted(net, (100, 70)).depth.shape == (2, 1, 100, 70)
