"""How runs end, each outcome on a real run."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.running import execute

from dmx.config import parse_experiment
from dmx.experiment import prepare
from dmx.experiment.run import learner_of
from dmx.outcome import Outcome
from dmx.quartet import Batch, Prediction
from dmx.registry import depth_losses
from dmx.tracking import Home
from dmx.training.progress import Silent

Make = Callable[..., dict[str, Any]]


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


@pytest.mark.parametrize("weighting", ["gls", "famo", "gradnorm"])
def test_a_loss_below_zero_is_named_where_its_logarithm_is_taken(
    tiny: Make, tmp_path: Path, bad_loss: Any, weighting: str
) -> None:
    name = bad_loss(lambda call: -1.0 if call == 3 else 1.0)
    result = execute(tiny(loss={"mask": "bce", "depth": name}, weighting=weighting), tmp_path)
    assert result.outcome is Outcome.DIVERGED
    assert result.reason == "loss/depth is below 0 (the weighting takes losses of 0 or more) at step 2"


def test_a_loss_below_zero_is_a_loss_elsewhere(tiny: Make, tmp_path: Path, bad_loss: Any) -> None:
    name = bad_loss(lambda call: -1.0 if call == 3 else 1.0)
    assert execute(tiny(loss={"mask": "bce", "depth": name}), tmp_path).outcome is Outcome.COMPLETE


def test_an_infinite_weight_is_named_as_the_first_cause(tiny: Make, tmp_path: Path) -> None:
    prepared = prepare(parse_experiment(tiny(), "test"), Home(tmp_path))
    learner = learner_of(prepared)
    stage = prepared.config.stages[0]
    batch = next(iter(prepared.loaders.train(stage, 0, 0)))
    with torch.no_grad():
        next(iter(dict(learner.model.named_parameters()).values()))[0] = float("inf")
    with pytest.raises(Exception, match=r"parameter net\..* is not finite"):
        learner.forward_backward(batch, learner.model)


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
    result = execute(tiny(), tmp_path, report=lambda epoch, metrics: "enough" * (epoch == 1))
    assert result.outcome is Outcome.PRUNED
    assert result.epochs == 1
    (tmp_path / "runs/r/result.json").unlink()  # as if killed before the result was written
    again = execute(tiny(), tmp_path)
    assert (again.outcome, again.epochs, again.reason) == (Outcome.PRUNED, 1, result.reason)


def test_a_signal_in_the_last_validation_is_not_lost(tiny: Make, tmp_path: Path) -> None:
    class StopAtTheEnd(Silent):
        def epoch(self, epoch: int, epochs: int, values: Any) -> None:
            if epoch == epochs:
                os.kill(os.getpid(), signal.SIGTERM)

    assert execute(tiny(), tmp_path, StopAtTheEnd()).outcome is Outcome.INTERRUPTED
    assert execute(tiny(), tmp_path).outcome is Outcome.COMPLETE


def test_nothing_is_pruned_after_its_last_epoch(tiny: Make, tmp_path: Path) -> None:
    assert execute(tiny(), tmp_path, report=lambda epoch, metrics: "enough" * (epoch == 2)).outcome is Outcome.COMPLETE
