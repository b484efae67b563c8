"""Who learns how fast and who decays, against timm's own groups and by hand."""

import re

import pytest
import torch
from torch import nn

import dmx.training.optimizers  # noqa: F401  registers
from dmx.config.experiment import GroupsConfig
from dmx.errors import UserError
from dmx.models import DepthMaskModel, make_link
from dmx.models.depthmasknet import depthmasknet
from dmx.models.smp import unet
from dmx.quartet import DepthSpec
from dmx.registry import optimizers
from dmx.training.groups import ends, layers_of, make_optimizer, parameter_groups, without_weight_decay


class Net(nn.Module):
    """An encoder of three layers with a norm behind the first, and a decoder with a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 1, 1, bias=False)
        kernels = [nn.Conv2d(1, 1, 1, bias=False) for _ in range(3)]
        self.encoder = nn.Sequential(kernels[0], nn.BatchNorm2d(1), nn.Sequential(*kernels[1:]))
        self.decoder = nn.Conv2d(1, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.encoder(self.stem(x)))


def never() -> None:
    raise AssertionError("only layer_decay needs a look")


def by_name(
    net: nn.Module, settings: GroupsConfig, picture: torch.Tensor | None = None
) -> dict[str, tuple[float, bool]]:
    """The share of the learning rate of each parameter, and whether it decays."""
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    groups = parameter_groups(net, settings, never if picture is None else lambda: net.eval()(picture))
    found = [(names[id(p)], (g["lr_scale"], "weight_decay" not in g)) for g in groups for p in g["params"]]
    assert len(found) == len(names) == len(dict(found)), "each parameter once"
    return dict(found)


def test_rates_and_decay_by_hand():
    assert by_name(Net(), GroupsConfig(encoder_lr=0.1, layer_decay=0.5), torch.zeros(1, 1, 2, 2)) == {
        "stem.weight": (1.0, True),
        "encoder.0.weight": (pytest.approx(0.0125), True),
        "encoder.1.weight": (pytest.approx(0.0125), False),
        "encoder.1.bias": (pytest.approx(0.0125), False),
        "encoder.2.0.weight": (pytest.approx(0.025), True),
        "encoder.2.1.weight": (pytest.approx(0.05), True),
        "decoder.weight": (1.0, True),
        "decoder.bias": (1.0, False),
    }


def test_by_default_there_are_two_groups():
    decays, spared = parameter_groups(Net(), GroupsConfig(), never)
    assert (len(decays["params"]), len(spared["params"])) == (5, 3)
    assert spared["weight_decay"] == 0


def test_all_may_decay_in_one_group():
    (group,) = parameter_groups(Net(), GroupsConfig(decay_norms_and_biases=True), never)
    assert len(group["params"]) == 8
    assert "weight_decay" not in group


def test_the_baselines_encoder_is_known_by_its_name():
    model = DepthMaskModel(depthmasknet(width=4), make_link("softplus", DepthSpec("metric", 0.5, 10)))
    settings = GroupsConfig(encoder_lr=0.5, layer_decay=0.9)
    groups = parameter_groups(model, settings, lambda: model.dry_run((32, 32)))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {names[id(p)][4:]: (g["lr_scale"], "weight_decay" not in g) for g in groups for p in g["params"]}
    assert found["mask_decoder.head.weight"] == (1.0, True)
    assert found["encoder.3.halve.weight"] == (pytest.approx(0.5 * 0.9), True)
    assert found["encoder.0.plain.1.weight"] == (pytest.approx(0.5 * 0.9**4), False)


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
def test_layers_and_decay_are_timms(name):
    """timm has them by hand, as patterns for each network; its head, and a norm before it, are no layers of ours."""
    import timm
    from timm.optim import param_groups_layer_decay

    net = nn.Module()
    net.encoder = timm.create_model(name, num_classes=3)
    asked = getattr(net.encoder, "no_weight_decay", set)
    given = param_groups_layer_decay(net.encoder, 0.1, asked(), layer_decay=0.5)
    names = {id(p): n for n, p in net.encoder.named_parameters()}
    timms = {names[id(p)]: (g["lr_scale"], g["weight_decay"] > 0) for g in given for p in g["params"]}
    net.encoder.reset_classifier(0)
    net.forward = net.encoder.forward
    ours = by_name(net, GroupsConfig(layer_decay=0.5), torch.zeros(1, 3, 224, 224))
    assert {f"encoder.{n}": told for n, told in timms.items() if not re.match(r"fc|head|norm", n)} == {
        n: told for n, told in ours.items() if not n.startswith("encoder.norm")
    }


def test_hidden_layers_by_hand():
    """Muon's: neither the first nor the last kernel; norms and biases are not of them, whether they decay or not."""
    net = Net()
    picture = torch.zeros(2, 1, 2, 2, requires_grad=True)
    for decays in (True, False):
        settings = GroupsConfig(decay_norms_and_biases=decays)
        groups = parameter_groups(net, settings, lambda: net(picture), hidden_layers=True)
        names = {id(parameter): name for name, parameter in net.named_parameters()}
        hidden = {names[id(p)] for group in groups for p in group["params"] if not group.get("use_fallback")}
        assert hidden == {"encoder.0.weight", "encoder.2.0.weight", "encoder.2.1.weight"}
        assert sum(len(group["params"]) for group in groups) == len(names)
        spared = {names[id(p)] for group in groups for p in group["params"] if group.get("weight_decay") == 0}
        assert spared == (set() if decays else {"encoder.1.weight", "encoder.1.bias", "decoder.bias"})


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (
            lambda: depthmasknet(width=4),
            {"background_stem.0", "image_stem.0", "mask_decoder.head", "depth_decoder.head"},
        ),
        (lambda: unet(encoder="resnet18", inputs="image"), {"encoder.conv1", "heads.0.0", "heads.1.0"}),
        (lambda: unet(encoder="mit_b0", inputs="image"), {"encoder.patch_embed1.proj", "heads.0.0", "heads.1.0"}),
    ],
)
def test_the_ends_of_a_network_are_its_stems_and_heads(build, expected):
    model = DepthMaskModel(build(), make_link("exp", DepthSpec("metric", 0.5, 10)))
    assert ends(model, lambda: model.dry_run((64, 64), traced=True)) == {f"net.{name}.weight" for name in expected}


def test_the_ends_where_ways_part_and_meet():
    """Skips, matrices of linear layers, an unused layer, and a sum of two ways, of which each has a last layer."""

    class Parted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.hidden, self.left, self.right, self.idle = (nn.Linear(3, 3) for _ in range(6))
            self.position = nn.Parameter(torch.zeros(1, 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            met = self.one(x).relu() + self.two(x).tanh() + self.position
            return self.left(self.hidden(met).relu()).exp() + self.right(met).relu() * 2

    net = Parted()
    picture = torch.zeros(2, 3, requires_grad=True)
    assert ends(net, lambda: net(picture)) == {f"{name}.weight" for name in ("one", "two", "left", "right")}


def test_a_module_may_spare_what_it_names():
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens = nn.Parameter(torch.zeros(1, 4, 8))

        def no_weight_decay(self) -> set[str]:
            return {"tokens"}

    assert without_weight_decay(nn.Sequential(Tokens(), nn.Linear(1, 1))) == {"0.tokens", "1.bias"}
    assert without_weight_decay(Tokens()) == {"tokens"}


def test_a_lone_backbone_is_opened():
    """As timm's encoders in segmentation-models-pytorch, which keep all in `model`."""
    encoder = nn.Sequential()
    encoder.model = nn.Sequential()
    encoder.model.conv, encoder.model.norm, encoder.model.head = (
        nn.Conv2d(1, 1, 1),
        nn.BatchNorm2d(1),
        nn.Conv2d(1, 1, 1),
    )
    first = {"model.conv.weight", "model.conv.bias", "model.norm.weight", "model.norm.bias"}
    assert layers_of(encoder, lambda: encoder(torch.zeros(2, 1, 1, 1))) == [
        first,
        {"model.head.weight", "model.head.bias"},
    ]


def test_layers_are_in_the_order_in_which_a_picture_passes_them():
    """A Mix Transformer defines its four embeddings of patches first; Swin's tables of positions do not decay."""
    net = unet(encoder="mit_b0", inputs="image")
    layers = layers_of(net.encoder, lambda: net.eval()(torch.zeros(1, 3, 64, 64), None))
    firsts = [min(layer).split(".")[0] for layer in layers]
    assert firsts == [f"{part}{i}" for i in (1, 2, 3, 4) for part in ("patch_embed", "block", "block")]
    swin = unet(encoder="tu-swin_tiny_patch4_window7_224", inputs="image")
    assert sum(name.endswith("relative_position_bias_table") for name in without_weight_decay(swin)) == 12


def test_without_an_encoder_there_is_nothing_to_slow_down():
    with pytest.raises(UserError) as error:
        parameter_groups(nn.Conv2d(1, 1, 1), GroupsConfig(encoder_lr=0.5), never)
    assert str(error.value) == (
        "groups: encoder_lr=0.5 and layer_decay=1 are about the encoder, but Conv2d has no part of that name; "
        "set both to 1."
    )
    assert len(parameter_groups(nn.Conv2d(1, 1, 1), GroupsConfig(), never)) == 2


@pytest.mark.parametrize("name", [name for name in optimizers if name != "prodigy"])
def test_every_optimizer_takes_the_groups(name):
    """The first group has the whole rate; what is spared does not move for decay alone."""
    net = Net()
    torch.nn.init.constant_(net.decoder.bias, 1.0)
    kind = optimizers[name].params
    decay = {"weight_decay": 0.1} if "weight_decay" in kind.model_fields else {}
    params = kind(lr=0.02, **decay)
    other = nn.Parameter(torch.ones(1))
    picture = torch.zeros(2, 1, 2, 2, requires_grad=True)
    optimizer = make_optimizer(params, net, GroupsConfig(encoder_lr=0.1), lambda: net(picture), [other])
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.02, 0.02, 0.002, 0.002, 0.02])
    assert decay.items() <= optimizer.param_groups[0].items()
    assert optimizer.param_groups[1]["weight_decay"] == optimizer.param_groups[-1]["weight_decay"] == 0
    assert optimizer.param_groups[-1]["params"] == [other]
    for parameter in (*net.parameters(), other):
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    # ASGD has a decay of its own beside, of 1e-4 times the rate
    assert [net.decoder.bias.item(), other.item()] == pytest.approx([1, 1], abs=1e-5 if name == "asgd" else 0)
