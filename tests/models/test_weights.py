"""Encoders that begin with weights of a package or a local file, against what timm and the library load themselves."""

import re
from pathlib import Path

import huggingface_hub.constants
import pytest
import timm
import torch
from safetensors.torch import save_file
from segmentation_models_pytorch.encoders import get_encoder
from sklearn.datasets import load_sample_image
from torch import Tensor, nn

from dmx.errors import UserError
from dmx.models import pretrained
from dmx.models.joint import IMAGENET
from dmx.models.pretrained import packaged
from dmx.models.smp import dpt, unet
from dmx.models.smp.encoders import licence
from dmx.models.smp.local import load_encoder
from dmx.models.weights import read_state

LITE = "tu-tf_efficientnet_lite0"


@pytest.fixture(autouse=True)
def hub(tmp_path, monkeypatch):
    """An empty cache and a hub that nobody answers for."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    return tmp_path / "hub"


def at_random(module: nn.Module) -> dict[str, Tensor]:
    """A state dict of the module's names and shapes in which no two values agree."""
    source = torch.Generator().manual_seed(0)
    state = module.state_dict()
    return {k: torch.rand(v.shape, generator=source) if v.is_floating_point() else v.clone() for k, v in state.items()}


def same(one: nn.Module, other: nn.Module) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@pytest.fixture(scope="module")
def lite() -> nn.Module:
    """Timm's whole model with the package's weights, classifier and all."""
    model = timm.create_model("tf_efficientnet_lite0").eval()
    path = packaged(LITE, "in1k")
    assert path is not None
    load_encoder(model, LITE, path, 3)
    return model


@pytest.mark.parametrize(
    ("picture", "classes"),
    [("china.jpg", {"palace", "monastery", "bell cote, bell cot"}), ("flower.jpg", {"daisy"})],
)
def test_the_packages_weights_name_what_pictures_show(lite, picture, classes):
    """A weight in a wrong place would leave chance: one class in a thousand."""
    x = torch.tensor(load_sample_image(picture)).permute(2, 0, 1)[None].float() / 255
    x = nn.functional.interpolate(x[..., :427, 106:533], (224, 224), mode="bicubic", antialias=True)
    top = lite((x - 0.5) / 0.5).softmax(1)[0].topk(3).indices.tolist()
    names = [timm.data.ImageNetInfo().index_to_description(i) for i in top]
    assert names[0] in classes
    assert len(classes.intersection(names)) == len(classes)


def test_the_network_has_the_packages_weights(lite):
    net = unet(encoder=LITE, weights="in1k", inputs="image").eval()
    whole = lite.state_dict()
    mine = {name.removeprefix("model."): value for name, value in net.encoder.state_dict().items()}
    assert len(mine) > 250
    assert all(torch.equal(value, whole[name]) for name, value in mine.items())
    picture = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    ours, timms = net.encoder(picture)[1:], lite.forward_intermediates(picture, intermediates_only=True)
    for one, other in zip(ours, timms, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    assert net.colours == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert licence(LITE) == "apache-2.0"


def some(*names: str, quick: int) -> list[object]:
    """The first `quick` of some names in every run of the suite, the others in the slow one."""
    slow = pytest.mark.slow
    return [*names[:quick], *(pytest.param(name, marks=slow) for name in names[quick:])]


@pytest.mark.parametrize("inputs", some("image+background", "image", "two_stems", quick=1))
def test_a_package_and_the_hub_give_the_same_network(hub, lite, monkeypatch, inputs):
    """The hub's cache is read by timm itself, which also adapts the first convolution to 6 and 16 channels."""
    torch.manual_seed(0)
    ours = unet(encoder=LITE, weights="in1k", inputs=inputs)
    snapshot = hub / "models--timm--tf_efficientnet_lite0.in1k" / "snapshots" / "x"
    snapshot.mkdir(parents=True)
    (hub / "models--timm--tf_efficientnet_lite0.in1k" / "refs").mkdir()
    (hub / "models--timm--tf_efficientnet_lite0.in1k" / "refs" / "main").write_text("x")
    (snapshot / "config.json").write_text("{}")
    save_file(lite.state_dict(), snapshot / "model.safetensors")
    monkeypatch.setattr(pretrained, "PACKAGES", {})
    torch.manual_seed(0)
    assert same(ours, unet(encoder=LITE, weights="in1k", inputs=inputs))


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(pretrained, "PACKAGES", {(LITE, "in1k"): "dmx-no-such-package"})
    with pytest.raises(UserError) as caught:
        unet(encoder=LITE, weights="in1k")
    assert re.search(
        r"use weights=none, install what dmx has of them, pip install 'dmx\[pretrained\]', or put them into the cache "
        r"where there is a network: hf download timm/tf_efficientnet_lite0\.in1k$",
        str(caught.value),
    )
    assert packaged("resnet18", "imagenet") is None


@pytest.mark.parametrize("number", [1, 2])
def test_the_other_packages_fit(number):
    name = f"tf_efficientnet_lite{number}"
    model = timm.create_model(name).eval()
    path = packaged(f"tu-{name}", "in1k")
    assert path is not None
    load_encoder(model, f"tu-{name}", path, 3)
    assert torch.equal(model.classifier.bias, torch.load(path, weights_only=True)["_fc.bias"])


OWN = ("mobilenet_v2", "resnet18", "efficientnet-b0", "mit_b0", "densenet121", "mobileone_s0")


@pytest.mark.parametrize("encoder", some(*OWN, quick=1))
def test_a_file_is_loaded_as_the_library_loads_its_own(encoder, tmp_path):
    """With a classifier, which is ignored, and repeated for six channels by the library itself."""
    oracle = get_encoder(encoder, weights=None)
    state = at_random(oracle)
    save_file({**state, "fc.weight": torch.ones(5, 5)}, tmp_path / "w.safetensors")
    oracle.load_state_dict(state)
    oracle.set_in_channels(6, pretrained=True)
    ours = get_encoder(encoder, in_channels=6, weights=None)
    load_encoder(ours, encoder, tmp_path / "w.safetensors", 6)
    assert same(ours, oracle)


TIMM = ("convnext_atto", "regnetx_002", "mobilenetv3_small_050", "dla34", "resnet10t", "legacy_xception")


@pytest.mark.parametrize("encoder", some(*TIMM, "swin_tiny_patch4_window7_224", quick=1))
def test_a_file_is_loaded_as_timm_loads_its_own(encoder, tmp_path):
    """Whole models of timm, of which the library takes the layers with features, under other names."""
    state = at_random(timm.create_model(encoder))
    overlay = {"state_dict": dict(state)}
    oracle = get_encoder(f"tu-{encoder}", in_channels=6, weights=True, pretrained_cfg_overlay=overlay)
    save_file(state, tmp_path / "w.safetensors")
    ours = get_encoder(f"tu-{encoder}", in_channels=6, weights=None)
    load_encoder(ours, f"tu-{encoder}", tmp_path / "w.safetensors", 6)
    assert same(ours, oracle)
    torch.save({"state_dict": {f"module.{k}": v for k, v in ours.state_dict().items()}}, tmp_path / "w.pt")
    again = get_encoder(f"tu-{encoder}", in_channels=6, weights=None)
    load_encoder(again, f"tu-{encoder}", tmp_path / "w.pt", 6)
    assert same(again, oracle)


@pytest.mark.slow
def test_a_first_layer_that_makes_channels_of_pixels_is_repeated_too(tmp_path):
    """TResNet's, for which timm itself has no rule: equal pictures give the same as one."""
    state = at_random(timm.create_model("tresnet_m"))
    save_file(state, tmp_path / "w.safetensors")
    one, two = (get_encoder("tu-tresnet_m", in_channels=channels, weights=None).eval() for channels in (3, 6))
    load_encoder(one, "tu-tresnet_m", tmp_path / "w.safetensors", 3)
    load_encoder(two, "tu-tresnet_m", tmp_path / "w.safetensors", 6)
    assert torch.equal(one.state_dict()["model.body_conv1.conv.weight"], state["body.conv1.conv.weight"])
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for a, b in zip(one(x)[1:], two(torch.cat([x, x], 1))[1:], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


FORMS = {
    "plain": lambda state: state,
    "nested": lambda state: {"epoch": 3, "model": {"state_dict": state}},
    "average first": lambda state: {"state_dict": {k: v + 1 for k, v in state.items()}, "state_dict_ema": state},
    "wrapped": lambda state: {"state_dict": {f"model.backbone.{k}": v for k, v in state.items()}},
    "with a head": lambda state: {**{f"module.encoder.{k}": v for k, v in state.items()}, "fc.weight": torch.ones(2)},
    "old": lambda state: {k: v for k, v in state.items() if "num_batches" not in k},
}


@pytest.mark.parametrize("form", FORMS)
def test_a_torch_file_may_be_wrapped(form, tmp_path):
    small = get_encoder("mobilenet_v2", weights=None)
    state = at_random(small)
    torch.save(FORMS[form](state), tmp_path / "w.pth")
    load_encoder(small, "mobilenet_v2", tmp_path / "w.pth", 3)
    loaded = small.state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in state.items() if "num_batches" not in name)


def test_a_path_is_relative_to_the_current_folder(tmp_path, monkeypatch):
    state = at_random(get_encoder("mobilenet_v2", weights=None))
    monkeypatch.chdir(tmp_path)
    torch.save(state, "w.pth")
    net = unet(encoder="mobilenet_v2", weights="w.pth", inputs="image")
    assert torch.equal(net.encoder.features[0][0].weight, state["features.0.0.weight"])
    assert net.colours == IMAGENET


@pytest.mark.slow
def test_a_transformer_begins_with_a_file_and_with_its_colours(tmp_path):
    state = at_random(timm.create_model("vit_tiny_patch16_224"))
    save_file(state, tmp_path / "w.safetensors")
    net = dpt(weights=str(tmp_path / "w.safetensors"), inputs="image")
    assert net.colours == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert torch.equal(net.encoder.model.blocks[0].attn.qkv.weight, state["blocks.0.attn.qkv.weight"])


def test_what_does_not_fit_is_said_at_once(tmp_path):
    encoder = get_encoder("resnet18", in_channels=6, weights=None)
    state, before = at_random(encoder), encoder.conv1.weight.clone()
    for name in [name for name in state if name.startswith("layer4.1.")]:
        del state[name]
    state |= {"conv1.weight": torch.ones(64, 4, 7, 7), "bn1.bias": torch.ones(3), "extra": torch.ones(1)}
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(UserError) as caught:
        load_encoder(encoder, "resnet18", tmp_path / "w.pth", 6)
    assert torch.equal(encoder.conv1.weight, before)
    assert str(caught.value) == (
        f"{tmp_path / 'w.pth'} does not fit encoder 'resnet18': 10 missing (layer4.1.conv1.weight, "
        "layer4.1.bn1.weight, layer4.1.bn1.bias and 7 more), 1 superfluous (extra), 2 misshapen (conv1.weight of "
        "64x4x7x7 for 64x6x7x7, bn1.bias of 3 for 64); nothing was loaded. Take weights of this encoder, or name the "
        "encoder that they are of."
    )


def test_lukemelas_names_in_another_order_are_refused(tmp_path):
    """As safetensors would sort them: by order alone they would come to wrong places."""
    path = packaged(LITE, "in1k")
    assert path is not None
    state = torch.load(path, weights_only=True)
    save_file({name: value.contiguous() for name, value in state.items()}, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"does not fit encoder 'tu-tf_efficientnet_lite0': \d+ missing \(conv_stem"):
        load_encoder(timm.create_model("tf_efficientnet_lite0"), LITE, tmp_path / "w.safetensors", 3)


class Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def test_files_that_are_no_weights_are_refused(tmp_path):
    torch.save({"state_dict": Bomb(tmp_path / "ran")}, tmp_path / "bomb.pth")
    (tmp_path / "text.safetensors").write_text("weights")
    torch.save({"epoch": 3}, tmp_path / "empty.pt")
    for name, reason in {
        "bomb.pth": "damaged",
        "text.safetensors": "damaged",
        "empty.pt": "holds no state dict",
    }.items():
        with pytest.raises(
            UserError, match=rf"{name}: .*{reason}.*; take another file, in safetensors or as torch.save"
        ):
            read_state(tmp_path / name)
    assert not (tmp_path / "ran").exists()
    with pytest.raises(UserError, match=r"weights names no/such, but there is no such file; check the path\.$"):
        unet(weights="no/such")
