import pytest
import torch
from torch import nn

from dmx.config.groups import GroupsConfig
from dmx.errors import UserError
from dmx.models.depthmasknet import depthmasknet
from dmx.training.groups import layers_of, parameter_groups


class Net(nn.Module):
    """An encoder in a wrapper with three layers, of which one has nothing to learn, and a head."""

    def __init__(self):
        super().__init__()
        layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3))
        self.encoder = nn.Sequential(layers)
        self.head = nn.Conv2d(4, 1, 1)


def rates(net: nn.Module, **settings) -> dict[str, tuple[float, bool]]:
    """Each parameter's learning rate, and whether it is decayed."""
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    found = {}
    for group in parameter_groups(net, 0.5, GroupsConfig(**settings)):
        assert group.get("weight_decay", 0.0) == 0
        for parameter in group["params"]:
            assert names[id(parameter)] not in found
            found[names[id(parameter)]] = (group["lr"], "weight_decay" not in group)
    assert found.keys() == set(names.values())
    return found


def test_norms_and_biases_are_not_decayed():
    found = rates(Net())
    assert {name for name, (_, decayed) in found.items() if decayed} == {
        "encoder.0.0.weight",
        "encoder.0.3.weight",
        "head.weight",
    }
    assert {lr for lr, _ in found.values()} == {0.5}


def test_all_is_decayed_if_asked():
    assert all(decayed for _, decayed in rates(Net(), decay_norms_and_biases=True).values())
    assert len(parameter_groups(Net(), 0.5, GroupsConfig(decay_norms_and_biases=True))) == 1


def test_layers_by_hand():
    """Three layers with something to learn: 0.5 · 0.2 · 0.5², · 0.5, · 1; the head keeps 0.5."""
    found = {name: lr for name, (lr, _) in rates(Net(), encoder_lr=0.2, layer_decay=0.5).items()}
    assert found == {
        "encoder.0.0.weight": pytest.approx(0.025),
        "encoder.0.0.bias": pytest.approx(0.025),
        "encoder.0.1.weight": pytest.approx(0.05),
        "encoder.0.1.bias": pytest.approx(0.05),
        "encoder.0.3.weight": pytest.approx(0.1),
        "encoder.0.3.bias": pytest.approx(0.1),
        "head.weight": 0.5,
        "head.bias": 0.5,
    }


def test_depthmasknet_has_four_layers():
    net = depthmasknet(width=4)
    assert [len(layer) for layer in layers_of(net.encoder)] == [len(list(block.parameters())) for block in net.encoder]


def test_what_the_encoder_holds_itself_goes_with_its_first_layer():
    encoder = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    encoder.position = nn.Parameter(torch.zeros(3, 2))
    assert [len(layer) for layer in layers_of(encoder)] == [3, 2]


def test_a_network_without_an_encoder_says_so():
    with pytest.raises(UserError) as caught:
        parameter_groups(nn.Conv2d(3, 2, 1), 0.5, GroupsConfig(encoder_lr=0.1))
    assert str(caught.value) == (
        "groups gives the encoder learning rates of its own, but Conv2d names no part of it `encoder`; leave out "
        "groups.encoder_lr and groups.layer_decay."
    )
