"""A container's /dev/shm: with too little of it training goes on, with none of it the command ends and says why."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

Make = Callable[..., dict[str, Any]]
MOUNT = "mount -t tmpfs -o {options} tmpfs /dev/shm && exec {command}"
COULD = "unshare -m mount -t tmpfs tmpfs /dev/shm"


@pytest.fixture(autouse=True)
def root() -> None:
    try:
        subprocess.run(COULD.split(), check=True, capture_output=True)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"needs to mount a file system of its own: {error}")


def within(options: str, words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """`dmx` with a /dev/shm of its own."""
    command = " ".join([sys.executable, "-m", "dmx", *words])
    inner = MOUNT.format(options=options, command=command)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", inner], cwd=folder, env=environment, capture_output=True, text=True, timeout=240
    )


@pytest.fixture
def experiment(tiny: Make, tmp_path: Path) -> Path:
    data = tiny(stages=[{"epochs": 1, "size": 128, "batch_size": 16}])
    data["data"] |= {"workers": 2, "cache": "none"}
    path = tmp_path / "e.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("size", ["12m", "1m"])
def test_with_too_little_batches_go_through_pipes(experiment: Path, size: str, tmp_path: Path) -> None:
    done = within(f"size={size}", ["train", str(experiment)], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "complete" in done.stdout
    free, wanted = size.removesuffix("m"), "16.2"  # 5 batches of 16 x 128 x 128 pixels of 13 bytes
    said = [line for line in done.stderr.splitlines() if "/dev/shm" in line]
    assert said == [
        f"/dev/shm has {free}.0 MB free, but data.workers=2 want {wanted} MB for their batches, which go through pipes "
        "instead: slower, but safe. Give it more (docker run --shm-size), or take fewer workers."
    ]


@pytest.mark.slow
def test_with_none_the_command_says_what_to_do(experiment: Path, tmp_path: Path) -> None:
    for words, without in (
        (["train", str(experiment)], "data.workers=0"),
        (["data", "synth", str(tmp_path / "new"), "--count", "400", "--size", "16"], "one worker"),
    ):
        done = within("size=4k,nr_inodes=1", words, tmp_path)
        if without == "one worker" and done.returncode == 0:
            continue  # on one core
        assert done.returncode == 1, done.stdout
        assert done.stderr.strip().splitlines()[-1] == (
            "Error: no process can be started beside this one (No space left on device); see that /dev/shm is there, "
            f"can be written and is not full, or go on with {without}."
        )
        assert "Traceback" not in done.stderr
