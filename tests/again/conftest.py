"""A project in git, and a run that was trained with changes that were not yet committed."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from helpers.commands import dmx
from helpers.running import execute

from dmx.tracking.home import Home

__all__ = ["dmx"]
ROOT = Path(__file__).parent.parent.parent
SEEDING = "dmx/training/seeding.py"


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@dataclass(frozen=True)
class Project:
    """A folder with a copy of dmx in git, and the results of the run `r`."""

    folder: Path
    home: Home
    commit: str


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Project:
    """The commit has another seed than dmx; the diff, which the run recorded, takes that back.

    So the run is trained with the dmx of this checkout, and only the commit with its diff is that; the working tree is
    another one again.
    """
    folder = tmp_path_factory.mktemp("again") / "project"
    shutil.copytree(ROOT / "dmx", folder / "dmx", ignore=shutil.ignore_patterns("__pycache__"))
    right = (folder / SEEDING).read_text()
    (folder / SEEDING).write_text(right.replace("torch.manual_seed(seed)", "torch.manual_seed(seed + 1)"))
    (folder / ".gitignore").write_text("mlruns/\n__pycache__/\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "with another seed")
    (folder / SEEDING).write_text(right)
    (folder / "notes.txt").write_text("not in git\n")
    home, before = folder / "mlruns", Path.cwd()
    os.chdir(folder)
    try:
        execute(experiment(tiny_data), home)
    finally:
        os.chdir(before)
    commit = git(folder, "rev-parse", "HEAD")
    (folder / SEEDING).write_text(right.replace("torch.manual_seed(seed)", "torch.manual_seed(seed + 2)"))
    git(folder, "commit", "-q", "-a", "-m", "with a third one")
    return Project(folder, Home(home), commit)


def experiment(data: Path) -> dict[str, object]:
    return {
        "name": "tiny",
        "data": {"root": str(data), "split": {"val": 0.25, "test": 0.25}},
        "model": {"name": "depthmasknet", "width": 4},
        "loss": {"mask": "bce_dice", "depth": "silog"},
        "optimizer": {"name": "adamw", "lr": 1e-3},
        "stages": [{"epochs": 2, "size": 16, "batch_size": 8}],
        "training": {"log_every": 1},
    }


@pytest.fixture
def inside(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The project as the current folder, and first on Python's path, as `python -m dmx` in it has it."""
    monkeypatch.chdir(project.folder)
    monkeypatch.syspath_prepend(project.folder)
    return project


@pytest.fixture
def copy(inside: Project, tmp_path: Path) -> Home:
    """A copy of its results, which a test may change."""
    shutil.copytree(inside.home.root, tmp_path / "home", ignore=shutil.ignore_patterns("reproductions"))
    return Home(tmp_path / "home")
