import json

import pytest
from torch import nn

from dmx.models import JointNet
from dmx.registry import Registry


class Toy(JointNet):
    """One convolution from 3 to 2 channels, 3x3: 54 weights, and as many multiply-adds for each pixel."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3, padding=1, bias=False)

    def forward(self, image, background):
        return self.conv(image).split(1, dim=1)


def toy(*, width: int = 1) -> Toy:
    """A toy."""
    return Toy()


def unfinished(*, width: int) -> Toy:
    """A toy without defaults."""
    return Toy()


@pytest.fixture
def listed(dmx, monkeypatch):
    """Two of the models and two toys, without building the others."""
    from dmx.registry import REGISTRIES, load

    load()
    models = REGISTRIES["models"]
    for name in set(models) - {"pspnet", "dpt"}:
        monkeypatch.delitem(models, name)
    toys = Registry("model")
    for build in (toy, unfinished):
        toys.register(build.__name__, source="here")(build)
        monkeypatch.setitem(models, build.__name__, toys[build.__name__])
    return lambda *words: dmx("list", "models", *words)


def test_models_are_listed_with_what_they_cost(listed):
    said = listed("--size", 64, "--json")
    rows = {row["name"]: row for row in json.loads(said.out)}
    assert said.code == 0
    assert rows["toy"] == {
        "name": "toy",
        "parameters": 54,
        "multiply_adds": 54 * 64 * 64,
        "licence_of_weights": None,
        "kind": "model",
        "what": "A toy.",
        "source": "here",
    }
    assert rows["unfinished"]["parameters"] is rows["unfinished"]["multiply_adds"] is None
    assert rows["pspnet"]["licence_of_weights"] == "unknown"
    assert rows["dpt"]["licence_of_weights"] == "apache-2.0"


def test_the_table_says_the_same_at_192_if_not_told(listed):
    lines = {line.split()[0]: line.split() for line in listed().out.splitlines() if line}
    assert lines["toy"][1:6] == ["0.00", "M", "0.00", "G", "-"]
    assert lines["unfinished"][1:4] == ["-", "-", "-"]
    assert lines["pspnet"][1:6] == ["0.85", "M", "0.90", "G", "unknown"]


def test_other_kinds_are_listed_as_json(dmx):
    rows = json.loads(dmx("list", "losses", "--json").out)
    assert {"name": "l1", "kind": "depth loss"}.items() <= next(row for row in rows if row["name"] == "l1").items()


def test_a_size_is_for_models_alone(dmx):
    said = dmx("list", "losses", "--size", 64)
    assert said.code == 2
    assert "--size is for models, but got it for losses; leave it out." in said.err


def test_encoders_are_listed_with_their_weights(dmx):
    said = dmx("list", "encoders", "--json")
    rows = {row["name"]: row for row in json.loads(said.out)}
    assert rows["resnet18"] == {"name": "resnet18", "weights": "imagenet, ssl, swsl", "licence_of_weights": "unknown"}
    assert rows["tu-convnext_atto"]["licence_of_weights"] == "apache-2.0"
    assert rows["tu-convnext_atto_rms"]["weights"] is None
    assert not any(name.startswith("timm-") for name in rows)


def test_describe_tells_of_what_a_user_gives_alone(dmx):
    said = dmx("describe", "schedules", "plateau").out
    assert "patience: Epochs without a better value" in said
    assert "optimizer:" not in said
    said = dmx("describe", "weightings", "rlw").out
    assert "Random weights" in said
    assert "Args" not in said
