"""The loop on real, tiny runs: resuming, outcomes, stages, averaging, the pinned losses of the baseline."""

import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from dmx.config import parse_experiment
from dmx.experiment import prepare, run
from dmx.experiment.run import _learner
from dmx.outcome import Outcome
from dmx.quartet import Batch, Prediction
from dmx.registry import depth_losses
from dmx.tracking.home import Home
from dmx.training.progress import Silent
from dmx.training.result import RunResult
from dmx.training.trainer import BEST_WEIGHTS, CHECKPOINT

Make = Callable[..., dict[str, Any]]


class StopAt(Silent):
    """Sends this process a signal after a number of steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def step(self, samples: int, loss: float | None) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)


class Values(Silent):
    """Keeps the losses."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def step(self, samples: int, loss: float | None) -> None:
        assert loss is not None
        self.losses.append(loss)


def execute(data: dict[str, Any], home: Path, progress: Silent | None = None, **options: Any) -> RunResult:
    prepared = prepare(parse_experiment(data, "test"))
    result, unsent = run(
        prepared,
        Home(home),
        "r",
        experiment="tests",
        tags={"dmx.role": "run"},
        progress=progress or Silent(),
        stores=False,
        **options,
    )
    assert unsent == 0
    return result


def points(home: Path) -> dict[tuple[str, int], float]:
    """Every scalar of the journal; a step that stands twice fails."""
    found: dict[tuple[str, int], float] = {}
    for line in (home / "runs/r/journal.jsonl").read_text().splitlines():
        event = json.loads(line)
        for key, value in event.get("values", {}).items():
            assert (key, event["step"]) not in found
            found[key, event["step"]] = value
    return found


def state(home: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(home / "runs/r" / CHECKPOINT, weights_only=True)
    return loaded


def assert_same_bits(one: Any, other: Any) -> None:
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, Mapping):
        assert one.keys() == other.keys()
        for key in one:
            assert_same_bits(one[key], other[key])
    elif isinstance(one, list | tuple):
        for left, right in zip(one, other, strict=True):
            assert_same_bits(left, right)
    else:
        assert one == other


@pytest.mark.parametrize("steps", [1, 3, 4])
def test_a_run_interrupted_anywhere_ends_in_the_same_bits(tiny: Make, tmp_path: Path, steps: int) -> None:
    settings = {"log_every": 2, "ema_decay": 0.9, "clip_norm": 1.0}
    data = tiny(training=settings, weighting="uncertainty", schedule="one_cycle")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert execute(data, whole).outcome is Outcome.COMPLETE

    first = execute(data, parts, StopAt(steps))
    assert first.outcome is Outcome.INTERRUPTED
    assert first.steps == steps
    assert "SIGINT" in first.reason
    assert execute(data, parts).outcome is Outcome.COMPLETE

    one, other = state(whole), state(parts)
    del one["position"]["seconds"], other["position"]["seconds"]
    del one["random"]["python"], other["random"]["python"]  # the type checker of the tests draws from it
    assert_same_bits(one, other)
    assert_same_bits(load_file(whole / "runs/r" / BEST_WEIGHTS), load_file(parts / "runs/r" / BEST_WEIGHTS))
    timeless = {key: value for key, value in points(whole).items() if not key[0].startswith("system/")}
    assert timeless == {key: value for key, value in points(parts).items() if not key[0].startswith("system/")}


def test_the_same_configuration_gives_the_same_bits_and_another_seed_does_not(tiny: Make, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        execute(tiny(seed=seed), tmp_path / name)
    weights = {name: state(tmp_path / name)["model"] for name in "abc"}
    assert_same_bits(weights["a"], weights["b"])
    assert any(not torch.equal(weights["a"][key], weights["c"][key]) for key in weights["a"])


@pytest.fixture
def bad_loss() -> Iterator[Callable[[Callable[[int], Any]], str]]:
    """Registers a depth loss that does at its n-th call what the test says, and takes it out again."""

    def make(at_call: Callable[[int], Any]) -> str:
        calls = 0

        @depth_losses.register("bad", source="a test", kinds=("metric",))
        def bad(prediction: Prediction, batch: Batch) -> Any:
            """Fails."""
            nonlocal calls
            calls += 1
            return (prediction.depth - batch.depth).abs().mean() * at_call(calls)

        return "bad"

    yield make
    depth_losses.pop("bad", None)


def test_nan_ends_a_run_as_diverged_and_names_the_tensor(tiny: Make, tmp_path: Path, bad_loss: Any) -> None:
    name = bad_loss(lambda call: float("nan") if call == 3 else 1.0)
    result = execute(tiny(loss={"mask": "bce", "depth": name}), tmp_path)
    assert result.outcome is Outcome.DIVERGED
    assert result.reason == "loss/depth is not finite at step 2"
    assert result.best is None


def test_an_infinite_weight_is_named_as_the_first_cause(tiny: Make, tmp_path: Path) -> None:
    prepared = prepare(parse_experiment(tiny(), "test"))
    learner = _learner(prepared)
    stage = prepared.config.stages[0]
    batch = next(iter(prepared.loaders.train(stage, 0, 0)))
    with torch.no_grad():
        next(iter(dict(learner.model.named_parameters()).values()))[0] = float("inf")
    with pytest.raises(Exception, match=r"parameter net\..* is not finite"):
        learner.step(batch, learner.model)


def test_memory_that_runs_out_is_an_outcome_of_its_own(tiny: Make, tmp_path: Path, bad_loss: Any) -> None:
    def fail(call: int) -> float:
        if call == 2:
            raise torch.OutOfMemoryError("the device has no memory left")
        return 1.0

    result = execute(tiny(loss={"mask": "bce", "depth": bad_loss(fail)}), tmp_path)
    assert (result.outcome, result.reason) == (Outcome.OUT_OF_MEMORY, "the device has no memory left")


def test_a_crash_is_on_record_and_passes_through(tiny: Make, tmp_path: Path, bad_loss: Any) -> None:
    def fail(call: int) -> float:
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        execute(tiny(loss={"mask": "bce", "depth": bad_loss(fail)}), tmp_path)
    last = json.loads((tmp_path / "runs/r/journal.jsonl").read_text().splitlines()[-1])
    assert (last["kind"], last["outcome"], last["reason"]) == ("finish", "crashed", "RuntimeError: a defect")
    assert "a defect" in (tmp_path / "runs/r/crash.txt").read_text()


def test_a_report_that_says_so_prunes_and_stays_pruned(tiny: Make, tmp_path: Path) -> None:
    result = execute(tiny(), tmp_path, report=lambda epoch, value: epoch == 1)
    assert result.outcome is Outcome.PRUNED
    assert result.epochs == 1
    (tmp_path / "runs/r/result.json").unlink()  # as if killed before the result was written
    again = execute(tiny(), tmp_path)
    assert (again.outcome, again.epochs, again.reason) == (Outcome.PRUNED, 1, result.reason)


def test_stages_go_on_with_the_same_weights_and_validate_at_the_last_size(tiny: Make, tmp_path: Path) -> None:
    stages = [{"epochs": 1, "size": 16, "batch_size": 12}, {"epochs": 1, "size": [32, 48], "batch_size": 6}]
    prepared = prepare(parse_experiment(tiny(stages=stages), "test"))
    assert {tuple(batch.image.shape[2:]) for batch in prepared.loaders.val()} == {(32, 48)}
    sizes = [tuple(next(iter(prepared.loaders.train(stage, 0, 0))).image.shape) for stage in prepared.config.stages]
    assert sizes == [(12, 3, 16, 16), (6, 3, 32, 48)]
    result = execute(tiny(stages=stages), tmp_path)
    assert (result.outcome, result.epochs, result.steps) == (Outcome.COMPLETE, 2, 2 + 4)


def test_a_signal_in_the_last_validation_is_not_lost(tiny: Make, tmp_path: Path) -> None:
    class StopAtTheEnd(Silent):
        def epoch(self, epoch: int, epochs: int, values: Any) -> None:
            if epoch == epochs:
                os.kill(os.getpid(), signal.SIGTERM)

    assert execute(tiny(), tmp_path, StopAtTheEnd()).outcome is Outcome.INTERRUPTED
    assert execute(tiny(), tmp_path).outcome is Outcome.COMPLETE


def test_nothing_is_pruned_after_its_last_epoch(tiny: Make, tmp_path: Path) -> None:
    assert execute(tiny(), tmp_path, report=lambda epoch, value: epoch == 2).outcome is Outcome.COMPLETE


@pytest.mark.timeout(120)
def test_loader_processes_give_what_memory_gives_and_do_not_hang(tiny: Make, tmp_path: Path) -> None:
    """Workers are forked anew each epoch, after validation has used OpenCV in this process."""
    data = tiny()
    execute(data, tmp_path / "memory")
    data["data"] |= {"memory": False, "workers": 2}
    assert execute(data, tmp_path / "disk").outcome is Outcome.COMPLETE
    assert_same_bits(state(tmp_path / "memory")["model"], state(tmp_path / "disk")["model"])


def test_best_keeps_every_metric_of_one_epoch(tiny: Make, tmp_path: Path) -> None:
    result = execute(tiny(), tmp_path)
    logged = points(tmp_path)
    assert result.best is not None
    by_epoch = {step: logged["val/depth/rmse_pooled", step] for name, step in logged if name == "val/depth/rmse_pooled"}
    assert result.best.value == min(by_epoch.values())
    for name, value in result.best.metrics.items():
        if value is not None:
            assert logged[name, result.best.step] == value


def test_bfloat16_forward_gives_finite_float32_losses(tiny: Make, tmp_path: Path) -> None:
    watched = Values()
    execute(tiny(training={"precision": "bfloat16", "log_every": 1}), tmp_path, watched)
    assert len(watched.losses) == 6
    assert all(0 < loss < 100 for loss in watched.losses)


@pytest.mark.slow
def test_compiled_training_is_close_to_plain_training(tiny: Make, tmp_path: Path) -> None:
    plain, compiled = Values(), Values()
    stages = [{"epochs": 1, "size": 32, "batch_size": 8}]
    execute(tiny(stages=stages), tmp_path / "plain", plain)
    execute(tiny(stages=stages, training={"compile": True, "log_every": 1}), tmp_path / "compiled", compiled)
    assert compiled.losses == pytest.approx(plain.losses, rel=1e-3)


def test_the_golden_losses_of_the_baseline(tiny: Make, tmp_path: Path) -> None:
    """Four steps of the published network. They move only if model, loss, data, order or update change."""
    watched = Values()
    data = tiny(
        model="depthmasknet",
        stages=[{"epochs": 2, "size": 32, "batch_size": 12}],
        training={"log_every": 1, "channels_last": False, "compile": False, "precision": "float32"},
    )
    execute(data, tmp_path, watched)
    assert watched.losses[:4] == pytest.approx(GOLDEN, rel=1e-3)


GOLDEN = [1.7683758735656738, 1.8378732204437256, 1.5937137603759766, 1.2739084959030151]
