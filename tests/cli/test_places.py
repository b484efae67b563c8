"""A place that cannot be written ends a command with one message and exit code 2; so does one that is full."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

Run = Callable[..., Any]
Make = Callable[..., dict[str, Any]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_text("x")
    return path


@pytest.mark.parametrize("command", ["train", "sweep", "lr-find", "sync", "gc", "leaderboard", "report s", "ui"])
def test_a_home_that_is_a_file_or_below_one(dmx: Run, tiny: Make, tmp_path: Path, file: Path, command: str) -> None:
    experiment, study = tmp_path / "e.yaml", tmp_path / "s.yaml"
    experiment.write_text(yaml.safe_dump(tiny()))
    study.write_text(
        yaml.safe_dump({"name": "s", "experiment": tiny(), "search": {"optimizer.adamw.lr": [1e-3, 1e-2]}, "trials": 1})
    )
    given = {"train": [experiment], "sweep": [study], "lr-find": [experiment]}.get(command, [])
    for home in (file, file / "mlruns"):
        said = dmx(*command.split(), *given, "--home", home)
        assert (said.code == 2 and str(file) in said.err) or (home != file and command in ("sync", "gc")), said
        assert "Traceback" not in said.err
        assert len(said.err) < 2000
    assert file.read_text() == "x"
    if given:
        assert (
            said.err.strip()
            .splitlines()[-1]
            .endswith("Not a directory; a file stands where a folder is needed: move it, or give another place.")
        )


@pytest.mark.parametrize("home", ["/sys/dmx", "/proc/dmx"])
def test_results_for_which_there_is_no_right(dmx: Run, tiny: Make, tmp_path: Path, home: str) -> None:
    """`/sys` and `/proc` take no folder from anybody, root or not."""
    experiment = tmp_path / "e.yaml"
    experiment.write_text(yaml.safe_dump(tiny()))
    said = dmx("train", experiment, "--home", home)
    assert said.code == 2
    last = said.err.strip().splitlines()[-1]
    assert last.startswith(f"Error: {home}")
    assert "; give another place (results go to --home or DMX_HOME)" in last


@pytest.mark.parametrize("command", ["train", "sync", "leaderboard"])
def test_a_home_whose_links_lead_in_a_circle(dmx: Run, tiny: Make, tmp_path: Path, command: str) -> None:
    experiment, home = tmp_path / "e.yaml", tmp_path / "home"
    experiment.write_text(yaml.safe_dump(tiny()))
    home.symlink_to(home)
    said = dmx(command, *[experiment] * (command == "train"), "--home", home)
    assert said.code == 2
    assert "its links lead in a circle; mend them, or give another place." in said.err
    assert "Traceback" not in said.err


def test_output_that_is_full_or_closed() -> None:
    command = [sys.executable, "-m", "dmx", "schema", "experiment"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.stderr == "Error: the output cannot be written (No space left on device); send it elsewhere.\n"
    assert done.returncode == 2
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")  # who reads has read enough, as in `| head`
