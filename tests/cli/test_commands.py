"""The commands as a user types them."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from dmx.cli import COMMANDS, cli
from dmx.cli.data import data
from dmx.cli.lazy import LazyGroup
from dmx.config.components import COMPONENT_PATHS
from dmx.registry import REGISTRIES, load

Run = Callable[..., Any]
Make = Callable[..., dict[str, Any]]


def test_help_loads_no_heavy_library() -> None:
    script = (
        "import sys; sys.argv = ['dmx', '--help']\nfrom dmx.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'mlflow', 'optuna', 'pydantic', 'rich', 'numpy', 'cv2', 'yaml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for name, (_, summary) in COMMANDS.items():
        assert name in done.stdout
        assert summary[:30] in done.stdout


@pytest.mark.parametrize(("group", "name"), [(one, name) for one in (cli, data) for name in one.lazy])
def test_what_the_overview_says_is_what_the_command_says(group: LazyGroup, name: str) -> None:
    command = group.get_command(click.Context(group), name)
    assert command is not None
    assert (command.help or "").partition("\n")[0] == group.lazy[name][1]


def test_list_and_describe_know_every_component(dmx: Run) -> None:
    load()
    listed = "".join(
        dmx("list", kind).out
        for kind in (
            "models",
            "losses",
            "weightings",
            "optimizers",
            "schedules",
            "augmentations",
            "metrics",
            "importers",
        )
    )
    for registry in REGISTRIES.values():
        for name in registry:
            assert name in listed
            said = dmx("describe", name)
            assert said.code == 0
            assert registry[name].source.split(",")[0] in said.out
    assert "5,230,720" in dmx("describe", "models", "depthmasknet").out


@pytest.mark.parametrize("kind", ["experiment", "study"])
def test_the_schema_is_json_that_knows_the_components(dmx: Run, kind: str) -> None:
    schema = json.loads(dmx("schema", kind).out)
    text = json.dumps(schema)
    for registry in COMPONENT_PATHS.values():
        for name in registry:
            assert f'"{name}"' in text


def test_train_goes_to_its_end_once_and_is_on_the_leaderboard(dmx: Run, tiny: Make, tmp_path: Path) -> None:
    path, home = tmp_path / "e.yaml", tmp_path / "home"
    path.write_text(yaml.safe_dump(tiny()))
    first = dmx("train", path, "--home", home)
    assert first.code == 0, first
    assert "epoch 2/2: val/depth/rmse_pooled" in first.out
    run = next((home / "runs").iterdir()).name
    again = dmx("train", path, "--home", home)
    assert again.code == 0
    assert f"Run {run} has ended already (complete)" in again.out
    board = dmx("leaderboard", "--home", home)
    assert run in board.out
    assert "lower is better" in board.out
    deadline = time.monotonic() + 90  # on a busy machine the forwarder of `train` may still be at it
    while (told := dmx("sync", "--home", home)).out != "1 runs are whole.\n":
        assert time.monotonic() < deadline, told
    assert dmx("train", "--resume", run, "--home", home).code == 0


def test_data_synth_says_what_it_made_and_makes_it_once(dmx: Run, tmp_path: Path) -> None:
    out = tmp_path / "set"
    assert "now holds 4 samples in 1 groups" in dmx("data", "synth", out, "--count", 4, "--size", 16).out
    assert "holds already 4 samples" in dmx("data", "synth", out, "--count", 4, "--size", 16).out
    refused = dmx("data", "synth", out, "--count", 5, "--size", 16)
    assert refused.code == 2
    assert str(out) in refused.err
    several = ("data", "synth", tmp_path / "rooms", "--count", 5, "--size", 16, "--per-room", 2)
    assert "now holds 5 samples in 3 groups" in dmx(*several).out
