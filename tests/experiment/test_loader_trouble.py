"""Runs whose loader processes hang, die or find no shared memory: they end, say why, and go on to the same weights."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.faults import AtSample, asleep, killed, nothing
from helpers.running import assert_same_bits, execute, state

from dmx.config import parse_experiment
from dmx.errors import MachineError
from dmx.experiment import check, loaders
from dmx.experiment.loaders import StageLoaders
from dmx.outcome import Outcome
from dmx.results.records import read_result
from dmx.tracking.home import Home

LONG = 120.0
"""Seconds, of which a machine with other work may need many; a run that was to be ended and takes so long was not."""
Make = Callable[..., dict[str, Any]]
Run = Callable[..., Any]


@pytest.fixture
def run(tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Trains with one loader process, which does `deed` at a sample of the second batch or later."""
    data = tiny()
    data["data"] |= {"workers": 1, "cache": "none"}
    data["training"] |= {"checkpoint_seconds": 0}
    chosen = check(parse_experiment(data, "test"), Home(tmp_path)).split.train[0]

    def make(deed: Callable[[], None], home: str = "home", **options: Any) -> Any:
        augment = AtSample(chosen, deed, os.getpid(), tmp_path / "stuck")
        monkeypatch.setattr(StageLoaders, "_augments", lambda self: (augment, None))
        return execute(data, tmp_path / home, **options)

    return make


def interrupt_at(mark: Path) -> None:
    """Send this process SIGINT a second after `mark` has appeared."""
    deadline = time.monotonic() + LONG
    while not mark.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGINT)


def weights(tmp_path: Path, home: str = "home") -> Any:
    return state(tmp_path / home)["model"]


def test_one_signal_ends_a_run_whose_batch_never_comes_and_it_goes_on(run: Run, tmp_path: Path) -> None:
    began = time.monotonic()
    threading.Thread(target=interrupt_at, args=(tmp_path / "stuck",)).start()
    stopped = run(asleep)
    assert time.monotonic() - began < LONG
    assert (stopped.outcome, stopped.reason) == (Outcome.INTERRUPTED, f"SIGINT at step {stopped.steps}")
    assert state(tmp_path / "home")["position"]["step"] == stopped.steps
    assert multiprocessing.active_children() == []
    assert run(nothing).outcome is Outcome.COMPLETE
    assert run(nothing, "whole").outcome is Outcome.COMPLETE
    assert_same_bits(weights(tmp_path), weights(tmp_path, "whole"))


def test_the_time_of_a_trial_ends_it_though_its_batch_never_comes(run: Run) -> None:
    began = time.monotonic()
    result = run(asleep, seconds=4.0)
    assert time.monotonic() - began < LONG
    assert (result.outcome, result.reason) == (Outcome.TIMED_OUT, f"4 s are over at step {result.steps}")
    assert multiprocessing.active_children() == []


def test_a_killed_loader_process_ends_the_run_and_the_same_command_goes_on(run: Run, tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="loader processes give no batch any more"):
        run(killed)
    found = read_result(tmp_path / "home/runs/r")
    assert found is None  # without a result the same command goes on
    assert '"outcome": "interrupted"' in (tmp_path / "home/runs/r/journal.jsonl").read_text().splitlines()[-1]
    assert run(nothing).outcome is Outcome.COMPLETE
    run(nothing, "whole")
    assert_same_bits(weights(tmp_path), weights(tmp_path, "whole"))


def test_too_little_shared_memory_is_said_in_one_line_and_batches_go_through_pipes(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run(nothing, "shared")
    assert caplog.messages == []
    monkeypatch.setattr(loaders, "shared_memory", lambda: 250_000)  # a batch of 8 at 32x32 takes at most 106,496 bytes
    run(nothing)
    assert caplog.messages == [
        "/dev/shm has 0.2 MB free, but data.workers=1 want 0.3 MB for their batches, which go through pipes instead: "
        "slower, but safe. Give it more (docker run --shm-size), or take fewer workers."
    ]
    assert_same_bits(weights(tmp_path), weights(tmp_path, "shared"))
