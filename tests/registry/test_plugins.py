"""Third-party components, installed and named: as users do it, in processes of their own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from dmx.errors import ConfigError

Make = Callable[..., dict[str, Any]]

PYPROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "depth-extras"
version = "1.0"

[project.entry-points."dmx.components"]
extras = "depth_extras"

[tool.setuptools]
py-modules = ["depth_extras"]
"""
# notes every call, so that a test can see who was called, how often and with what
MODULE = '''
from typing import Annotated
from pydantic import Field
from dmx.losses.masked import depth_pair, masked_mean
from dmx.registry import Range, depth_losses

CALLS = []

@depth_losses.register("far_l1", source="Nobody 2020, eq. 1", kinds=("metric", "relative"))
def far_l1(prediction, batch, *, factor: Annotated[float, Field(gt=0, le=9), Range(1, 5)] = 2.0):
    """Absolute error, some times over."""
    CALLS.append(factor)
    y, t, valid = depth_pair(prediction, batch)
    return factor * masked_mean((y - t).abs(), valid)
'''
TRAIN = """
import sys
from pathlib import Path
from dmx.config import load_experiment
from dmx.experiment import Tracking, prepare, run
from dmx.tracking import Home

home = Home(Path(sys.argv[2]))
prepared = prepare(load_experiment(Path(sys.argv[1])), home)
result, _ = run(prepared, home, "one", Tracking("plug-in", stores=False))
print(result.outcome, result.steps, sys.modules["depth_extras"].CALLS)
"""


def python(folder: Path, *arguments: object) -> str:
    """The output of a Python process that finds the modules in `folder`."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "160"},
        cwd=folder.parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def two_steps(tiny: Make, tmp_path: Path) -> Callable[..., Path]:
    """Writes an experiment of one epoch of two steps with the plug-in's loss."""

    def write(**changes: Any) -> Path:
        loss = {"mask": "bce", "depth": {"name": "far_l1", "factor": 3}}
        stages = [{"epochs": 1, "size": 32, "batch_size": 12}]
        path = tmp_path / "experiment.yaml"
        path.write_text(yaml.safe_dump(tiny(loss=loss, stages=stages, **changes)))
        return path

    return write


@pytest.mark.slow
def test_an_installed_distribution_brings_its_components(two_steps: Callable[..., Path], tmp_path: Path) -> None:
    source, installed = tmp_path / "source", tmp_path / "installed"
    source.mkdir()
    (source / "pyproject.toml").write_text(PYPROJECT)
    (source / "depth_extras.py").write_text(MODULE)
    quiet = ("--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "--no-index")
    python(source, "-m", "pip", "install", *quiet, "--target", installed, source)
    listed = python(installed, "-m", "dmx", "list", "losses")
    row = next(line for line in listed.splitlines() if line.startswith("far_l1"))
    assert " ".join(row.split()) == "far_l1 depth loss Absolute error, some times over. Nobody 2020, eq. 1"
    told = python(installed, "-c", TRAIN, two_steps(), tmp_path / "mlruns")
    assert told == "complete 2 [3.0, 3.0]\n"


def test_a_module_named_in_the_configuration_brings_its_components(
    two_steps: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "depth_extras.py").write_text(MODULE)
    told = python(folder, "-c", TRAIN, two_steps(plugins=["depth_extras"]), tmp_path / "mlruns")
    assert told == "complete 2 [3.0, 3.0]\n"


def test_without_the_plug_in_its_loss_is_not_known(two_steps: Callable[..., Path]) -> None:
    from dmx.config import load_experiment

    with pytest.raises(ConfigError, match="no depth loss 'far_l1'; Known: "):
        load_experiment(two_steps())
