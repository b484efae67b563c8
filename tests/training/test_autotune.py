"""What `auto` measures on a CPU: when, how often, what follows from it, and that a run keeps what it began with."""

import json
import platform
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.running import StopAt, execute

from dmx.config import parse_experiment
from dmx.experiment import prepare
from dmx.experiment.run import with_original_device_settings
from dmx.experiment.trained import trained
from dmx.machine import CPUS
from dmx.models.depthmasknet import depthmasknet
from dmx.models.joint import DepthMaskModel, make_link
from dmx.quartet import DepthSpec
from dmx.tracking import Home
from dmx.training.autotune import Workload, autotune, choice, kept, native_bfloat16, settings, title
from dmx.training.device import DeviceConfig

Make = Callable[..., dict[str, Any]]
CPU = DeviceConfig(torch.device("cpu"), torch.float32, torch.channels_last, compile=False)
CONTIGUOUS = "float32 contiguous_format"
OF = {"network": "n", "size": [16, 16]}


@pytest.fixture
def work() -> Workload:
    net = depthmasknet(width=4)
    model = DepthMaskModel(net, make_link("exp", DepthSpec("metric", 0.5, 10.0), net), net.colours)
    return Workload(model, "tiny", (16, 16), batch_size=64, flops=int(1e9))


def test_the_default_stays_unless_another_is_clearly_faster() -> None:
    rates = {"float32 channels_last": 100.0, CONTIGUOUS: 102.9, "bfloat16 channels_last": 90.0}
    assert choice(rates, "float32 channels_last") == "float32 channels_last"
    assert choice({**rates, CONTIGUOUS: 103.1}, "float32 channels_last") == CONTIGUOUS
    assert choice({**rates, "bfloat16 channels_last": 170.0}, "float32 channels_last") == "bfloat16 channels_last"


def test_only_what_is_auto_is_tried_and_bfloat16_only_where_it_is_native(monkeypatch: pytest.MonkeyPatch) -> None:
    def names(any_precision: bool, any_format: bool) -> list[str]:
        return [title(one) for one in settings(CPU, any_precision, any_format)]

    monkeypatch.setattr("dmx.training.autotune.native_bfloat16", lambda: True)
    both = ["float32 channels_last", CONTIGUOUS, "bfloat16 channels_last", "bfloat16 contiguous_format"]
    assert names(True, True) == both
    assert names(True, False) == both[::2]
    assert names(False, True) == both[:2]
    assert names(False, False) == both[:1]
    monkeypatch.setattr("dmx.training.autotune.native_bfloat16", lambda: False)
    assert names(True, True) == both[:2]


def test_the_measurement_leaves_network_and_random_numbers_as_they_were(work: Workload, tmp_path: Path) -> None:
    assert work.samples == 2  # 8e9 operations, 3e9 of a sample's step
    before = {name: tensor.clone() for name, tensor in work.model.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    found = autotune(CPU, work, tmp_path, any_precision=True, any_format=True)
    assert torch.equal(torch.rand(4), expected)
    assert all(torch.equal(tensor, before[name]) for name, tensor in work.model.state_dict().items())
    assert all(parameter.grad is None for parameter in work.model.parameters())
    (path,) = tmp_path.glob("*.json")
    rates = json.loads(path.read_text())["rates"]
    assert len(rates) == (4 if native_bfloat16() else 2)
    assert title(found) == choice(rates, "float32 channels_last")
    assert found.measured.startswith(f"float32 channels_last {rates['float32 channels_last']:.3g}, ")
    path.write_text(path.read_text().replace(str(rates[CONTIGUOUS]), "1e9"))
    assert title(autotune(CPU, work, tmp_path, any_precision=True, any_format=True)) == CONTIGUOUS, "it is read again"


def test_many_at_once_measure_once_and_a_damaged_file_is_measured_anew(tmp_path: Path) -> None:
    calls: list[int] = []

    def measure() -> dict[str, float]:
        calls.append(1)
        time.sleep(0.2)
        return {CONTIGUOUS: float(len(calls))}

    threads = [threading.Thread(target=kept, args=(tmp_path, OF, measure)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert kept(tmp_path, {**OF, "network": "another"}, measure) == {CONTIGUOUS: 2.0}
    for path in tmp_path.glob("*.json"):
        path.write_text("{")
    assert kept(tmp_path, OF, measure) == {CONTIGUOUS: 3.0}
    assert kept(tmp_path, OF, measure) == {CONTIGUOUS: 3.0}


def test_a_setting_whose_steps_fail_is_not_chosen(work: Workload, tmp_path: Path) -> None:
    work.model.net.forward = lambda *given: (_ for _ in ()).throw(RuntimeError("no kernel"))  # type: ignore[method-assign]
    assert autotune(CPU, work, tmp_path, any_precision=True, any_format=True) == CPU
    assert not [*tmp_path.glob("*.json")]


def test_native_bfloat16_is_what_the_system_says_of_the_processor() -> None:
    if not CPUS.exists() or "x86" not in platform.machine():
        pytest.skip("only Linux on x86 lists the processor's instructions")
    flags = {*next(line for line in CPUS.read_text().splitlines() if line.startswith("flags")).split()}
    assert native_bfloat16() == bool(flags & {"avx512_bf16", "amx_bf16"})


def test_a_short_run_does_not_measure(tiny: Make, tmp_path: Path) -> None:
    execute(tiny(stages=[{"epochs": 1, "size": 32, "batch_size": 8}]), tmp_path)
    assert not Home(tmp_path).devices.exists()
    assert "measured" not in json.loads((tmp_path / "runs/r/environment.json").read_text())["execution"]


def test_a_run_records_what_it_measured_and_keeps_what_it_began_with(
    tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path)
    monkeypatch.setattr(sys.modules["dmx.experiment.prepare"], "MEASURE_FROM_FLOPS", 0)
    data = tiny(stages=[{"epochs": 2, "size": 32, "batch_size": 8}])
    config = parse_experiment(data, "test")
    prepare(config, home)
    favour(home.devices, CONTIGUOUS)
    assert execute(data, tmp_path, StopAt(2)).outcome == "interrupted"
    record = json.loads((home.run("r") / "environment.json").read_text())["execution"]
    assert record["channels_last"] == "false"
    assert f"{CONTIGUOUS} 2" in record["measured"]

    favour(home.devices, "float32 channels_last")
    now = prepare(config, home)
    assert now.device_config.memory_format == torch.channels_last, "what is remembered has changed"
    resumed = with_original_device_settings(now, home.run("r"))
    assert resumed.device_config.memory_format == torch.contiguous_format
    assert resumed.device_config.measured == record["measured"]
    assert resumed.loaders.device_config == resumed.device_config
    compiled = replace(now, device_config=replace(now.device_config, compile=True))
    assert not with_original_device_settings(compiled, home.run("r")).device_config.compile, "it began without"
    assert execute(data, tmp_path).outcome == "complete"
    assert trained(home, "r").device_config.dtype == torch.float32


def favour(folder: Path, fast: str) -> None:
    """Let what is remembered say that `fast` is twice as fast as the others."""
    (path,) = folder.glob("*.json")
    found = json.loads(path.read_text())
    assert fast in found["rates"]
    path.write_text(json.dumps({**found, "rates": {name: 1.0 + (name == fast) for name in found["rates"]}}))
