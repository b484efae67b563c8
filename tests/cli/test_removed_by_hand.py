"""A real study of which somebody removes a part: each command goes on, or says in one message what to do."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from helpers.sweeping import execute

from dmx.cli.sweep import conclude
from dmx.cli.watch import Watch
from dmx.config import parse_study
from dmx.errors import UserError
from dmx.sweep.retrain import train_best
from dmx.sweep.study import StudySummary
from dmx.tracking import Home

Dmx = Callable[..., Any]
pytestmark = pytest.mark.filterwarnings("ignore:The `noload` loader strategy:DeprecationWarning")  # inside MLflow


@dataclass(frozen=True)
class Study:
    """A study of two trials and its champion.

    Attributes:
        data: Its configuration.
        home: Where it is.
        whole: A copy of that.
    """

    data: dict[str, Any]
    home: Path
    whole: Path

    def without(self, what: str) -> None:
        """Put everything back, but for this."""
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.copytree(self.whole, self.home)
        gone = [*self.home.glob(what)]
        assert gone
        for path in gone:
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def sweep(self) -> str:
        """Go on with the study; gives what it says where it does not."""
        try:
            execute(self.data, self.home)
        except UserError as error:
            return str(error)
        return ""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Study:
    base = tmp_path_factory.mktemp("removed")
    stages = [{"epochs": 1, "size": 32, "batch_size": 8}]
    experiment = {
        "name": "tiny",
        "data": {"root": str(tiny_data), "split": {"val": 0.25, "test": 0.25}},
        "model": {"name": "depthmasknet", "width": 4},
        "loss": {"mask": "bce_dice", "depth": "silog"},
        "optimizer": {"name": "adamw", "lr": 1e-3},
        "stages": stages,
    }
    data: dict[str, Any] = {
        "name": "tiny",
        "experiment": experiment,
        "search": {"model.depthmasknet.width": [4, 6]},
        "queue": [{"model.depthmasknet.width": 6}],
        "trials": 2,
        "pruner": "none",
        "train_best": {"finalists": 1, "seeds": [5]},
    }
    home = base / "home"
    assert execute(data, home).complete == 2
    with Watch(parse_study(data, "study").experiment.objective) as watch:
        train_best("tiny", Home(home), watch)
    shutil.copytree(home, base / "whole")
    return Study(data, home, base / "whole")


LOOKING = (
    ("leaderboard", "tiny"),
    ("leaderboard",),
    ("report", "tiny"),
    ("explain", "tiny", "1"),
    ("compare", "tiny-0000", "tiny-0001"),
    ("gc",),
)
"""Commands that look at what is there."""

PARTS = [
    "runs/tiny-0001",
    "runs/tiny-study",
    "runs/tiny-*",
    "studies/tiny",
    "studies/tiny/optuna.journal",
    "studies/tiny/study.yaml",
    "studies/tiny/identity.json",
    "studies/tiny/best.json",
    "runs/tiny-000?/config.yaml",
    "runs/tiny-0000/result.json",
    "runs/tiny-0000/journal.jsonl",
    "runs/tiny-0000/identity.json",
    "runs/*/best.safetensors",
    "runs/tiny-0000/val_samples.parquet",
    "runs/*/split.json",
    "tensorboard",
]


@pytest.mark.parametrize("part", PARTS)
def test_whatever_is_removed_no_command_breaks(study: Study, dmx: Dmx, part: str) -> None:
    study.without(part)
    for command in LOOKING:
        said = dmx(*command, "--home", study.home)
        assert said.code in (0, 2), (command, said)
        assert (said.code == 0) == (not said.err), (command, said)
        assert len(said.err) < 2000
    study.sweep()  # a UserError at most


def test_a_trial_whose_run_is_gone_stays_ended(study: Study) -> None:
    study.without("runs/tiny-0001")
    assert study.sweep() == ""
    assert execute(study.data, study.home).finished == 2
    assert not (study.home / "runs/tiny-0001").exists()


def test_runs_of_another_time_are_named_with_what_to_do(study: Study, dmx: Dmx) -> None:
    for part in ("studies/tiny", "studies/tiny/optuna.journal"):
        study.without(part)
        record = study.home / "runs/tiny-study/journal.jsonl"
        before = record.read_bytes()
        said = study.sweep()
        assert "runs/tiny-0000 exists, but the study has no such trial" in said
        assert "Restore them, remove the old run folders, or use another `name`" in said
        assert record.read_bytes() == before  # a refusal is no interruption
    for command in (("report", "tiny"), ("explain", "tiny", "0")):
        assert "runs/tiny-0000 exists, but the study has no such trial" in dmx(*command, "--home", study.home).err
    shutil.copy(study.whole / "studies/tiny/optuna.journal", study.home / "studies/tiny/optuna.journal")
    assert study.sweep() == ""  # brought back


@pytest.mark.parametrize("content", [b"\xff\x00garbage{", b"", b"in its", b"elsewhere"])
def test_a_damaged_note_of_where_the_trials_are_is_named(study: Study, dmx: Dmx, content: bytes) -> None:
    study.without("studies/tiny/best.json")
    note = study.home / "studies/tiny/storage.txt"
    note.write_bytes(content)
    assert "storage.txt: is damaged (" in study.sweep()
    said = dmx("report", "tiny", "--home", study.home)
    assert (said.code, "remove it, if the trials are where this command looks for them" in said.err) == (2, True)
    note.unlink()
    assert study.sweep() == ""


def test_what_a_champion_lacks_is_named(study: Study, dmx: Dmx) -> None:
    study.without("runs/tiny-000?/config.yaml")
    said = dmx("train-best", "tiny", "--home", study.home)
    assert said.code == 2
    assert "config.yaml is gone, though its run wrote it at its start: bring it back from a copy" in said.err
    study.without("runs/tiny-best-*/best.safetensors")
    (champion,) = (study.home / "runs").glob("tiny-best-*")
    said = dmx("train-best", "tiny", "--home", study.home)
    assert said.code == 2
    assert "best.safetensors is not there: the run has no best epoch yet, was answered" in said.err
    assert f"or remove {champion} and start its command again, which trains it once more." in said.err
    study.without("runs/tiny-*")
    said = dmx("train-best", "tiny", "--home", study.home)
    assert said.code == 2
    assert "holds no complete trial of study 'tiny'; run `dmx sweep` first, or bring back the runs' folders" in said.err


def test_a_part_of_a_run_that_looking_needs_is_named(study: Study, dmx: Dmx, tiny_data: Path) -> None:
    study.without("runs/tiny-0000/split.json")
    said = dmx("evaluate", "tiny-0000", tiny_data, "--home", study.home)
    assert (said.code, "split.json is gone" in said.err) == (2, True)


def test_results_that_are_gone_are_counted_at_the_end_of_a_sweep(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    study.without("runs/tiny-0001")
    assert conclude("tiny", Home(study.home), StudySummary(2, 2, 2, 0, "", 0), "more") is None
    said = capsys.readouterr().out
    assert f"The results of 1 of 2 complete trials are not in {study.home / 'runs'}, because they were removed" in said
    study.without("runs/tiny-study")
    assert conclude("tiny", Home(study.home), StudySummary(2, 2, 2, 0, "", 0), "more") is None
    assert "complete trials are not in" not in capsys.readouterr().out
