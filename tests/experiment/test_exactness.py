"""The precision of a run where a part of the network comes out wrong in it: refused, given up or kept, on record."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from helpers.running import StopAt, assert_same_bits, execute, state
from torch import Tensor, nn

from dmx.cli.train import train
from dmx.config import parse_experiment
from dmx.deliver.calibrate import measure
from dmx.errors import UserError
from dmx.experiment import Tracking, prepare, run
from dmx.experiment.evaluate import evaluate
from dmx.experiment.evaluation_store import evaluation_json
from dmx.experiment.trained import trained
from dmx.models import JointNet
from dmx.outcome import Outcome
from dmx.registry import models
from dmx.tracking import Home
from dmx.training.device import DeviceConfig, resolve_device

Make = Callable[..., dict[str, Any]]


class Crooked(nn.Conv2d):
    """A convolution that gives nothing but noise in lower precision on a machine that is `wrong`."""

    wrong = True
    wide = 0
    full = 10**9

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        if torch.is_autocast_enabled("cpu") and len(x) > self.full:
            raise torch.OutOfMemoryError("no room for this batch")
        return y.flip(1, 2, 3) if self.wrong and x.shape[-1] >= self.wide and torch.is_autocast_enabled("cpu") else y


class Net(JointNet):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.heads = Crooked(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1)

    def forward(self, image: Tensor, background: Tensor | None) -> tuple[Tensor, Tensor]:
        y = self.heads(self.act(self.first(image)))
        return y[:, :1], y[:, 1:]


@pytest.fixture(autouse=True)
def crooked() -> Iterator[None]:
    models.register("crooked", source="a test")(made)
    yield
    models.pop("crooked")


def made() -> Net:
    """A network with a convolution that may be wrong."""
    return Net()


def low(*args: Any, **kwargs: Any) -> DeviceConfig:
    """As on a GPU, where `auto` is bfloat16."""
    return replace(resolve_device(*args, **kwargs), dtype=torch.bfloat16)


@pytest.fixture
def data(tiny: Make) -> Make:
    def make(precision: str = "auto") -> dict[str, Any]:
        training = {"log_every": 1, "checkpoint_seconds": 0, "device": "cpu", "precision": precision}
        return tiny(model="crooked", training=training)

    return make


def on_record(home: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads((home / "runs/r/environment.json").read_text())["execution"]
    return found


def test_what_is_asked_for_and_wrong_is_refused_before_anything_is_written(
    data: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "e.yaml"
    path.write_text(json.dumps(data("bfloat16")))
    with pytest.raises(UserError, match=r"training\.precision is bfloat16, but in bfloat16 first") as caught:
        CliRunner().invoke(train, [str(path), "--home", str(tmp_path / "home")], catch_exceptions=False)
    assert "set it to auto or float32" in str(caught.value)
    assert not (tmp_path / "home").exists()
    monkeypatch.setattr(Crooked, "wrong", False)
    prepared = prepare(parse_experiment(data("bfloat16"), "test"), Home(tmp_path / "home"))
    assert prepared.device_config.facts()["precision"] == "bfloat16"


def test_every_stage_is_looked_at(data: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [{"epochs": 1, "size": size, "batch_size": 8} for size in (64, 32)]
    monkeypatch.setattr(Crooked, "wide", 64)
    for stages in (sizes, sizes[::-1]):
        with pytest.raises(UserError, match=r"training\.precision is bfloat16, but in bfloat16 first"):
            prepare(parse_experiment({**data("bfloat16"), "stages": stages}, "test"), Home(tmp_path))
    right = prepare(parse_experiment({**data("bfloat16"), "stages": sizes[1:]}, "test"), Home(tmp_path))
    assert right.device_config.facts()["precision"] == "bfloat16"


@pytest.mark.parametrize("full", [2, 0])
def test_a_batch_without_room_ends_as_in_any_training(
    data: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: int
) -> None:
    monkeypatch.setattr(Crooked, "wrong", False)
    monkeypatch.setattr(Crooked, "full", full)
    assert execute(data("bfloat16"), tmp_path).outcome is Outcome.OUT_OF_MEMORY


def test_what_nobody_asked_for_gives_way_to_float32_and_the_record_says_so(
    data: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(data("float32"), tmp_path / "plain")
    monkeypatch.setattr(sys.modules["dmx.experiment.prepare"], "resolve_device", low)
    assert execute(data(), tmp_path / "auto").outcome is Outcome.COMPLETE
    assert on_record(tmp_path / "auto")["precision"] == "float32"
    assert on_record(tmp_path / "auto")["precision_refused"] == "bfloat16: wrong in first (Crooked)"
    assert_same_bits(state(tmp_path / "auto")["model"], state(tmp_path / "plain")["model"])
    started = json.loads((tmp_path / "auto/runs/r/journal.jsonl").read_text().splitlines()[0])
    assert started["params"]["precision_refused"] == "bfloat16: wrong in first (Crooked)"


def test_without_a_refused_precision_the_memory_format_is_the_fastest_in_float32(
    data: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, config = Home(tmp_path), parse_experiment(data(), "test")
    monkeypatch.setattr(sys.modules["dmx.experiment.prepare"], "MEASURE_FROM_FLOPS", 0)
    monkeypatch.setattr("dmx.training.autotune.native_bfloat16", lambda: True)
    prepare(config, home)
    (path,) = home.devices.glob("*.json")
    found = json.loads(path.read_text())
    assert [*found["rates"]] == [
        "float32 channels_last",
        "float32 contiguous_format",
        "bfloat16 channels_last",
        "bfloat16 contiguous_format",
    ]
    path.write_text(json.dumps({**found, "rates": dict(zip(found["rates"], (2.0, 1.0, 3.0, 9.0), strict=True))}))
    chosen = prepare(config, home).device_config
    assert chosen.refused == "bfloat16: wrong in first (Crooked)"
    assert (chosen.dtype, chosen.memory_format) == (torch.float32, torch.channels_last)
    assert "bfloat16 contiguous_format 9" in chosen.measured
    monkeypatch.setattr(Crooked, "wrong", False)
    chosen = prepare(config, home).device_config
    assert (chosen.dtype, chosen.memory_format) == (torch.bfloat16, torch.contiguous_format)
    assert [*home.devices.glob("*.json")] == [path], "nothing is measured twice"


def test_a_run_goes_on_in_the_precision_in_which_it_began(
    data: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as right:
        right.setattr(sys.modules["dmx.experiment.prepare"], "resolve_device", low)
        right.setattr(Crooked, "wrong", False)
        execute(data(), tmp_path / "whole")
        for home in ("low", "lost"):
            assert execute(data(), tmp_path / home, StopAt(2)).outcome is Outcome.INTERRUPTED
    monkeypatch.setattr(Crooked, "wrong", False)
    assert execute(data(), tmp_path / "low").outcome is Outcome.COMPLETE  # where `auto` is float32
    assert_same_bits(state(tmp_path / "low")["model"], state(tmp_path / "whole")["model"])
    monkeypatch.setattr(Crooked, "wrong", True)
    with pytest.raises(UserError, match="the precision in which run r began is bfloat16, but in bfloat16 first"):
        execute(data(), tmp_path / "lost")


def test_what_began_in_float32_because_lower_was_wrong_stays_there(
    data: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["dmx.experiment.prepare"], "resolve_device", low)
    execute(data(), tmp_path / "whole")
    assert execute(data(), tmp_path / "parts", StopAt(2)).outcome is Outcome.INTERRUPTED
    monkeypatch.setattr(Crooked, "wrong", False)
    assert execute(data(), tmp_path / "parts").outcome is Outcome.COMPLETE
    assert_same_bits(state(tmp_path / "parts")["model"], state(tmp_path / "whole")["model"])
    assert on_record(tmp_path / "parts")["precision"] == "float32"


def test_an_evaluation_is_held_to_the_same(
    data: Make, tmp_path: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path)
    monkeypatch.setattr(Crooked, "wrong", False)
    for precision in ("auto", "bfloat16"):
        prepared = prepare(parse_experiment(data(precision), "test"), home)
        run(prepared, home, precision, Tracking("e", {"dmx.role": "run"}, stores=False))
    exact = evaluate(trained(home, "auto"), tiny_data, "val", home)
    assert evaluation_json(exact)["execution"]["precision"] == "float32"
    assert (
        evaluation_json(evaluate(trained(home, "bfloat16"), tiny_data, "val", home))["execution"]["precision"]
        == "bfloat16"
    )
    monkeypatch.setattr(Crooked, "wrong", True)
    with pytest.raises(UserError, match="the precision that run bfloat16 asks for is bfloat16, but in bf") as caught:
        evaluate(trained(home, "bfloat16"), tiny_data, "val", home)
    assert str(caught.value).endswith("more than rounding explains; take another machine or version of torch.")
    with pytest.raises(UserError, match="the precision that run bfloat16 asks for is bfloat16, but in bf"):
        measure(trained(home, "bfloat16"), tiny_data, "all", home, lambda done, total: None)
    monkeypatch.setattr(sys.modules["dmx.experiment.trained"], "resolve_device", low)
    found = evaluate(trained(home, "auto"), tiny_data, "val", home)
    assert evaluation_json(found)["execution"]["precision_refused"] == "bfloat16: wrong in first (Crooked)"
    assert found.values == exact.values
