"""A batch in parts, one after the other or in processes side by side, trains as the whole does."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import yaml
from helpers.running import StopAt, assert_same_bits, execute, points, state
from torch import Tensor

from dmx.config import parse_experiment
from dmx.experiment import prepare
from dmx.experiment.run import learner_of
from dmx.outcome import Outcome
from dmx.registry import models
from dmx.results.records import read_result
from dmx.tracking import Home

Make = Callable[..., dict[str, Any]]
TESTS = Path(__file__).parent.parent
HALVE = {"log_every": 1, "on_oom": "halve"}


@pytest.fixture(autouse=True)
def without_the_plug_in() -> Iterator[None]:
    yield
    models.pop("plain", None)
    sys.modules.pop("helpers.plain_net", None)


@pytest.fixture
def plain(tiny: Make, tiny_data: Path) -> Make:
    """An experiment whose losses are means over samples: all depth is known there."""

    def make(**changes: Any) -> dict[str, Any]:
        losses = {"mask": "bce", "depth": "l1"}
        sgd = {"name": "sgd", "lr": 1e-2}
        return tiny(**{"plugins": ["helpers.plain_net"], "model": "plain", "loss": losses, "optimizer": sgd, **changes})

    return make


def close(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    assert list(one) == list(other)
    return all(torch.allclose(one[name], other[name], rtol=0, atol=1e-5) for name in one)


def test_where_memory_runs_out_pieces_go_on_to_the_same_weights(plain: Make, tmp_path: Path) -> None:
    """CPU memory that no machine has: the allocator's own error."""
    whole = execute(plain(training=HALVE), tmp_path / "whole")
    pieces = execute(plain(training=HALVE, model={"name": "plain", "at_most": 3}), tmp_path / "pieces")
    assert (whole.outcome, whole.reason) == (Outcome.COMPLETE, "")
    assert (pieces.outcome, pieces.steps) == (Outcome.COMPLETE, whole.steps)
    assert pieces.reason == "each batch in 4 pieces, because memory ran out"
    assert close(state(tmp_path / "whole")["model"], state(tmp_path / "pieces")["model"])
    logged = {step: value for (key, step), value in points(tmp_path / "pieces").items() if key == "train/pieces"}
    assert logged == dict.fromkeys(range(1, whole.steps + 1), 4.0)


@pytest.mark.parametrize("name", ["fixed", "uncertainty", "dwa", "imtl_l"])
def test_the_gradient_of_a_batch_is_the_sum_of_its_pieces(plain: Make, tmp_path: Path, name: str) -> None:
    prepared = prepare(parse_experiment(plain(weighting=name), "test"), Home(tmp_path))
    learner = learner_of(prepared)
    batch = next(iter(prepared.loaders.train(prepared.config.stages[0], 0, 0)))
    assert learner.loss.weighting.divides
    parameters = [*learner.model.parameters(), *learner.loss.parameters()]
    losses = {}
    for pieces in (1, 3):
        losses[pieces] = learner.forward_backward(batch, learner.model, pieces)
        gradients = [parameter.grad.clone() for parameter in parameters if parameter.grad is not None]
        if pieces == 1:
            whole = gradients
    assert losses[1].keys() == losses[3].keys()
    assert all(torch.allclose(losses[1][key], losses[3][key], rtol=1e-5) for key in losses[1])
    assert len(whole) == len(gradients) == len(parameters)
    assert all(torch.allclose(one, other, rtol=1e-4, atol=1e-6) for one, other in zip(whole, gradients, strict=True))


def test_pieces_are_kept_over_an_interruption(plain: Make, tmp_path: Path) -> None:
    data = plain(training=HALVE, model={"name": "plain", "at_most": 4})
    execute(data, tmp_path / "whole")
    assert execute(data, tmp_path / "parts", StopAt(2)).outcome is Outcome.INTERRUPTED
    assert execute(data, tmp_path / "parts").outcome is Outcome.COMPLETE
    assert state(tmp_path / "parts")["position"]["pieces"] == 2
    assert_same_bits(state(tmp_path / "whole")["model"], state(tmp_path / "parts")["model"])


@pytest.mark.parametrize(
    ("at_most", "changes"),
    [(4, {"training": {"log_every": 1}}), (1, {}), (4, {"weighting": "pcgrad"}), (4, {"weighting": "famo"})],
    ids=["not asked for", "less than two samples", "weighting by gradients", "weighting with a memory of losses"],
)
def test_what_cannot_go_on_in_pieces_ends_as_out_of_memory(
    plain: Make, tmp_path: Path, at_most: int, changes: dict[str, Any]
) -> None:
    result = execute(plain(**{"training": HALVE, "model": {"name": "plain", "at_most": at_most}, **changes}), tmp_path)
    assert result.outcome is Outcome.OUT_OF_MEMORY
    assert "can't allocate memory" in result.reason


def together(config: Path, home: Path) -> list[str]:
    """The command that trains in two processes."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "dmx"]
    return [*torchrun, "train", str(config), "--home", str(home)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def config(plain: Make, tmp_path: Path) -> Path:
    path = tmp_path / "plain.yaml"
    stages = [{"epochs": 3, "size": 32, "batch_size": 8}]
    path.write_text(yaml.safe_dump(plain(stages=stages, training={"log_every": 1, "keep": "all"})))
    return path


def run_folder(home: Path) -> Path:
    (folder,) = (home / "runs").iterdir()
    return folder


def test_two_processes_train_to_the_weights_of_one(config: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    execute(yaml.safe_load(config.read_text()), one)
    done = subprocess.run(together(config, two), env=environment(), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 3/3") == 1  # the first process speaks for all
    other = torch.load(run_folder(two) / "checkpoint.pt", weights_only=True)
    assert other["position"]["step"] == state(one)["position"]["step"] == 9
    assert close(state(one)["model"], other["model"])


@pytest.mark.slow
def test_the_threads_of_the_group_end_with_it(tmp_path: Path) -> None:
    """One that outlives the interpreter aborts the process when it lets go of a tensor."""
    script = tmp_path / "threads.py"
    script.write_text(
        "import os, torch\n"
        "from pathlib import Path\n"
        "from dmx.training.distributed import all_reduce_mean, join_process_group\n"
        "def threads(): return [path.read_text().strip() for path in Path('/proc/self/task').glob('*/comm')]\n"
        "with join_process_group('cpu'):\n"
        "    import torch.distributed.nn.functional\n"
        "    all_reduce_mean([torch.ones(3)])\n"
        "    assert 'pt_gloo_runloop' in threads()\n"
        "assert not [name for name in threads() if 'gloo' in name], threads()\n"
    )
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    done = subprocess.run(torchrun, env=environment(), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_two_processes_stop_together_and_go_on(config: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    data = yaml.safe_load(config.read_text())
    data["stages"][0]["epochs"] = 400
    config.write_text(yaml.safe_dump(data))
    running = subprocess.Popen(together(config, home), env=environment(), stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    assert any("epoch 2/" in line for line in running.stdout)
    running.send_signal(signal.SIGTERM)
    began = time.monotonic()
    running.communicate(timeout=60)
    assert time.monotonic() - began < 25  # torchrun kills after 30 s
    stopped = torch.load(run_folder(home) / "checkpoint.pt", weights_only=True)["position"]
    found = read_result(run_folder(home))
    assert found is not None
    assert (found[0].outcome, found[0].steps) == (Outcome.INTERRUPTED, stopped["step"])
    assert 0 < stopped["epoch"] < 400


@pytest.mark.slow
def test_where_one_process_is_killed_the_other_says_so_and_the_same_command_goes_on(
    config: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    data = yaml.safe_load(config.read_text())
    data["stages"][0]["epochs"] = 400
    data["training"] = {"log_every": 1, "checkpoint_seconds": 0}
    config.write_text(yaml.safe_dump(data))
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = subprocess.Popen(together(config, home), env=environment(), **pipes)
    assert running.stdout is not None
    assert any("epoch 2/" in line for line in running.stdout)
    ranks = [one for one in psutil.Process(running.pid).children() if "dmx" in one.cmdline()]
    began = time.monotonic()
    {one.environ()["RANK"]: one for one in ranks}["1"].kill()
    _, said = running.communicate(timeout=120)
    assert time.monotonic() - began < 60
    assert running.returncode != 0
    assert "Error: process 0 of the 2 that train together has lost another, whose own message says why (" in said
    found = read_result(run_folder(home))
    assert found is None or found[0].outcome is Outcome.INTERRUPTED
    before = torch.load(run_folder(home) / "checkpoint.pt", weights_only=True)["position"]
    again = subprocess.Popen(together(config, home), env=environment(), **pipes)
    assert again.stdout is not None
    assert any(f"going on at step {before['step']} of" in line for line in again.stdout)
    again.send_signal(signal.SIGTERM)
    again.communicate(timeout=60)


@pytest.mark.slow
def test_a_batch_that_does_not_divide_is_refused(config: Path, tmp_path: Path) -> None:
    data = yaml.safe_load(config.read_text())
    data["stages"][0]["batch_size"] = 7
    config.write_text(yaml.safe_dump(data))
    done = subprocess.run(
        together(config, tmp_path / "home"), env=environment(), capture_output=True, text=True, timeout=240
    )
    assert done.returncode != 0
    assert "stages.0.batch_size is 7, which is for 2 processes together; take a multiple of 2" in done.stderr
    assert not (tmp_path / "home" / "runs").exists()
