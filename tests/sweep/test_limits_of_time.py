"""Time limits and ctrl-C end trials whose step never comes: the pool kills the worker that does not end itself."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from optuna.trial import TrialState

from dmx.config import parse_study
from dmx.outcome import Outcome
from dmx.registry import depth_losses
from dmx.results.records import read_result
from dmx.sweep.trial_queue import open_queue
from dmx.tracking import Home

Make = Callable[..., dict[str, Any]]
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:The `noload` loader strategy:DeprecationWarning")]
GRACE = 3
LOSS = '''
import time
from dmx.losses.masked import depth_pair, masked_mean
from dmx.registry import depth_losses

calls = []


@depth_losses.register("endless", source="a test", kinds=("metric",))
def endless(prediction, batch):
    """Learns, and after some steps does not come back; no signal ends that."""
    y, t, valid = depth_pair(prediction, batch)
    calls.append(1)
    while len(calls) > 4:
        time.sleep(0.1)
    return masked_mean((y - t).abs(), valid)
'''
COMMAND = f"""
import dmx.sweep.pool
dmx.sweep.pool.GRACE = {GRACE}.0
from dmx.cli import main
if __name__ == "__main__":
    main()
"""


@pytest.fixture
def sweep(tmp_path: Path, tiny: Make, tiny_study: Make, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Starts a sweep of two trials, the first of which does not come back from its fifth step; gives its study, too."""
    (tmp_path / "endless_loss.py").write_text(LOSS)
    (tmp_path / "command.py").write_text(COMMAND)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    own = tiny(plugins=["endless_loss"], loss={"mask": "bce", "depth": "endless"})

    def begin(*options: str, **changes: Any) -> tuple[dict[str, Any], "subprocess.Popen[bytes]"]:
        search = {"loss.depth": ["endless", "l1"]}
        data = tiny_study(experiment=own, search=search, queue=[{"loss.depth": "l1"}], trials=2, **changes)
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(data))
        words = ["sweep", str(tmp_path / "study.yaml"), "--home", str(tmp_path / "home"), *options]
        with (tmp_path / "log").open("wb") as log:
            return data, subprocess.Popen(
                [sys.executable, str(tmp_path / "command.py"), *words], stdout=log, stderr=log
            )

    yield begin
    depth_losses.pop("endless", None)
    sys.modules.pop("endless_loss", None)


def trials_of(data: dict[str, Any], home: Path) -> list[Any]:
    return open_queue(parse_study(data, "study"), Home(home).study("tiny")).trials()


def stuck(home: Path) -> None:
    """Wait until the first trial is in the step from which it does not come back."""
    journal = home / "runs/tiny-0000/journal.jsonl"
    deadline = time.monotonic() + 120
    while not (journal.exists() and '"step": 4' in journal.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_trial_beyond_its_time_is_ended_and_the_others_go_on(sweep: Callable[..., Any], tmp_path: Path) -> None:
    data, process = sweep(trial_timeout=8)
    assert process.wait(200) == 0, (tmp_path / "log").read_text()
    first, second = trials_of(data, tmp_path / "home")
    assert (first.state, first.user_attrs["outcome"]) == (TrialState.FAIL, Outcome.TIMED_OUT)
    assert first.user_attrs["reason"] == "8 s are over, and its step did not end; its process was ended"
    assert second.state is TrialState.COMPLETE
    found = read_result(tmp_path / "home/runs/tiny-0000")
    assert found is None or found[0].outcome is Outcome.TIMED_OUT


def test_the_time_of_a_sweep_ends_it(sweep: Callable[..., Any], tmp_path: Path) -> None:
    data, process = sweep("--timeout", "40s")
    stuck(tmp_path / "home")
    assert process.wait(100) == 130
    assert "Interrupted; the time is up; the same command goes on." in (tmp_path / "log").read_text()
    assert [trial.state for trial in trials_of(data, tmp_path / "home")] == [TrialState.WAITING] * 2


def test_one_ctrl_c_ends_it(sweep: Callable[..., Any], tmp_path: Path) -> None:
    data, process = sweep()
    stuck(tmp_path / "home")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert "Interrupted; the same command goes on." in (tmp_path / "log").read_text()
    assert [trial.state for trial in trials_of(data, tmp_path / "home")] == [TrialState.WAITING] * 2
