"""A sweep on a disk that fills up again and again, at one place after the other: a small tmpfs, really full."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.killing import assert_nothing_lost_or_doubled

Make = Callable[..., dict[str, Any]]
ROOT = Path(__file__).parent.parent.parent
FREE = (0, 4, 24, 64, 160, 320, 640, 1000, 1400, 1900, 2500, 3200)
"""Kilobytes that are free when the sweep is started, one time after the other."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings("ignore:The `noload` loader strategy:DeprecationWarning"),  # inside MLflow
]

LOAD = "import sys, torch; [torch.load(path, weights_only=True) for path in sys.argv[1:]]"


@dataclass(frozen=True)
class Disk:
    """A small disk that only processes in one namespace of mounts see.

    Attributes:
        at: Where it is mounted.
        keeper: The process that keeps the namespace.
    """

    at: Path
    keeper: int

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command that sees the disk."""
        entered = ["nsenter", "--target", str(self.keeper), "--mount", f"--wd={ROOT}", *command]
        given = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
        return subprocess.run(entered, env=given, capture_output=True, text=True, timeout=600)

    def leave(self, kilobytes: int | None) -> None:
        """Fill it so that so much is left; None: nothing but the files themselves takes room."""
        fill = f"rm -f {self.at}/filler"
        if kilobytes is not None:
            fill += f"; free=$(df --output=avail -k {self.at} | tail -1); head -c $(( (free - {kilobytes}) * 1024 ))"
            fill += f" /dev/zero > {self.at}/filler"
        done = self.run("sh", "-c", fill)
        assert done.returncode == 0, done.stderr


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    at = tmp_path / "disk"
    at.mkdir()
    script = f"mount -t tmpfs -o size=48m tmpfs {at} && echo mounted && exec sleep 3000"
    if not (shutil.which("unshare") and shutil.which("nsenter")):
        pytest.skip("this machine has no unshare and nsenter")
    keeper = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert keeper.stdout is not None
    assert keeper.stderr is not None
    if keeper.stdout.readline() != b"mounted\n":
        pytest.skip(f"no file system can be mounted here: {keeper.stderr.read().decode().strip()}")
    yield Disk(at, keeper.pid)
    keeper.kill()
    keeper.wait()


def checkpoints(disk: Disk, home: Path) -> list[str]:
    return disk.run("find", str(home), "-name", "checkpoint.pt").stdout.split()


def test_a_full_disk_loses_and_doubles_nothing(disk: Disk, tiny_study: Make, tmp_path: Path) -> None:
    data = tiny_study(trials=4, pruner={"name": "median", "startup_trials": 2, "warmup_epochs": 0})
    data["experiment"]["training"] = {"log_every": 1, "checkpoint_seconds": 0}
    study, home = tmp_path / "study.yaml", disk.at / "mlruns"
    study.write_text(yaml.safe_dump(data))
    sweep = (sys.executable, "-m", "dmx", "sweep", str(study), "--home", str(home))
    refused: list[str] = []
    for free in FREE:
        disk.leave(free)
        done = disk.run(*sweep)
        said = done.stdout + done.stderr
        assert "Traceback" not in said, said
        assert done.returncode in (0, 2), said
        if done.returncode == 2:
            refused.append(done.stderr.strip().splitlines()[-1])
            assert "no room" in refused[-1].lower() or "no space" in refused[-1].lower(), said
            assert "same command again" in refused[-1], said
        assert disk.run(sys.executable, "-c", LOAD, *checkpoints(disk, home)).returncode == 0
    assert len(refused) >= 6, refused
    disk.leave(None)
    done = disk.run(*sweep)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 of 4 trials" in done.stdout
    out = tmp_path / "out"
    assert disk.run("cp", "-a", str(home), str(out)).returncode == 0
    assert_nothing_lost_or_doubled(data, out)
    for folder in (out / "runs").glob("tiny-0*"):
        assert json.loads((folder / "result.json").read_text())["outcome"] in ("complete", "pruned")
        assert not [*folder.glob("*.partial"), *folder.glob(".*.part")]
