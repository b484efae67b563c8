"""What stays of a run that has ended."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from helpers.running import StopAt
from helpers.running import execute as kept_whole

from dmx.cli.train import train
from dmx.config import parse_experiment
from dmx.experiment import RunOptions, Tracking, prepare, remove_unneeded_files, run
from dmx.outcome import Outcome
from dmx.tracking import Home
from dmx.training.progress import Silent

Make = Callable[..., dict[str, Any]]
LARGE = ("checkpoint.pt", "checkpoint.partial", "best.safetensors", "best.partial")


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} & {*LARGE}


def execute(data: dict[str, Any], home: Path, progress: Silent | None = None) -> Outcome:
    prepared = prepare(parse_experiment(data, "test"), Home(home))
    tags, told = {"dmx.role": "run"}, progress or Silent()
    result, _ = run(prepared, Home(home), "r", Tracking("e", tags, stores=False), RunOptions(progress=told))
    return result.outcome


def test_an_ended_run_keeps_no_checkpoint_and_an_interrupted_one_does(tiny: Make, tmp_path: Path) -> None:
    assert execute(tiny(), tmp_path, StopAt(2)) is Outcome.INTERRUPTED
    assert left(tmp_path / "runs/r") == {"checkpoint.pt"}
    assert execute(tiny(), tmp_path) is Outcome.COMPLETE
    assert left(tmp_path / "runs/r") == {"best.safetensors"}


def test_what_is_asked_for_stays(tiny: Make, tmp_path: Path) -> None:
    assert kept_whole(tiny(), tmp_path).outcome is Outcome.COMPLETE
    assert left(tmp_path / "runs/r") == {"best.safetensors", "checkpoint.pt"}


@pytest.mark.parametrize(
    ("outcome", "trial", "stays"),
    [
        ("complete", False, {"best.safetensors", "best.partial"}),
        ("diverged", False, {"best.safetensors", "best.partial"}),
        ("crashed", False, {*LARGE}),  # the same command goes on
        ("out-of-memory", False, {*LARGE}),
        ("interrupted", False, {*LARGE}),
        ("complete", True, {"best.safetensors", "best.partial"}),
        ("pruned", True, set()),
        ("crashed", True, {"best.safetensors", "best.partial"}),  # a trial that has ended never goes on
        ("timed-out", True, {"best.safetensors", "best.partial"}),
    ],
)
def test_what_stays_follows_from_how_a_run_ended(
    tiny: Make, tmp_path: Path, outcome: str, trial: bool, stays: set[str]
) -> None:
    for name in LARGE:
        (tmp_path / name).write_bytes(b"x")
    remove_unneeded_files(
        tmp_path, Outcome(outcome), parse_experiment(tiny(training={"keep": "all"}), "test"), trial=trial
    )
    assert left(tmp_path) == {*LARGE}
    for _ in range(2):  # a kill between is made good by the next call
        remove_unneeded_files(tmp_path, Outcome(outcome), parse_experiment(tiny(), "test"), trial=trial)
        assert left(tmp_path) == stays


def test_a_kill_before_the_removal_is_made_good_at_the_next_start(tiny: Make, tmp_path: Path) -> None:
    import yaml

    path, home = tmp_path / "e.yaml", tmp_path / "home"
    path.write_text(yaml.safe_dump(tiny()))
    first = CliRunner().invoke(train, [str(path), "--home", str(home)], catch_exceptions=False)
    assert first.exit_code == 0
    (folder,) = (home / "runs").iterdir()
    (folder / "checkpoint.pt").write_bytes(b"as if killed before it was removed")
    again = CliRunner().invoke(train, [str(path), "--home", str(home)], catch_exceptions=False)
    assert "has ended already (complete)" in again.output
    assert left(folder) == {"best.safetensors"}


def test_a_run_whose_best_weights_are_gone_begins_anew(tiny: Make, tmp_path: Path) -> None:
    class Epochs(StopAt):
        seen = 0

        def step(self, samples: int, loss: float | None) -> None:
            self.seen += 1
            super().step(samples, loss)

    whole = kept_whole(tiny(), tmp_path / "whole")
    for gone in ("best.safetensors", "val_samples.parquet"):
        home = tmp_path / gone
        assert execute(tiny(), home, StopAt(whole.steps // 2 + 1)) is Outcome.INTERRUPTED
        (home / "runs/r" / gone).unlink()
        counted = Epochs(-1)
        assert execute(tiny(), home, counted) is Outcome.COMPLETE
        assert counted.seen == whole.steps
        assert (home / "runs/r" / gone).is_file()
