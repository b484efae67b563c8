"""`start` from the command line: a run begins with the weights of another, and a study with those of a run."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.running import execute
from safetensors.torch import load_file, save_file

Make = Callable[..., dict[str, Any]]
Run = Callable[..., Any]


@pytest.fixture
def first(tiny: Make, tmp_path: Path) -> Path:
    """A results folder with the run `r`, which has ended."""
    execute(tiny(stages=[{"epochs": 1, "size": 32, "batch_size": 8}]), tmp_path / "home")
    return tmp_path / "home"


def best(home: Path) -> Path:
    return home / "runs/r/best.safetensors"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.slow
def test_an_ended_run_does_not_stand_for_other_weights(dmx: Run, first: Path, tiny: Make, tmp_path: Path) -> None:
    state, path = load_file(best(first)), tmp_path / "w.safetensors"
    save_file(state, path)
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(tiny()))
    command = ("train", tmp_path / "e.yaml", "-s", f"start={path}", "--home", tmp_path / "home")
    assert dmx(*command).code == 0
    assert "has ended already" in dmx(*command).out
    save_file({**state, "mean": state["mean"] + 1}, path)
    refused = dmx(*command)
    assert refused.code == 2
    assert "the file that start names has changed since" in refused.err
    path.unlink()
    assert "has ended already" in dmx(*command).out


@pytest.mark.slow
def test_a_study_begins_with_a_run(dmx: Run, first: Path, tiny: Make, tmp_path: Path) -> None:
    study = {"name": "s", "experiment": tiny(start="r"), "search": {"optimizer.adamw.lr": [1e-3, 1e-4]}, "trials": 2}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({**study, "pruner": "none"}))
    assert dmx("sweep", tmp_path / "s.yaml", "--home", tmp_path / "home").code == 0
    for place in ("studies/s/identity.json", "runs/s-0001/result.json"):
        found = json.loads((tmp_path / "home" / place).read_text())
        assert found["weights"] == {"start": sha256(best(first))}
