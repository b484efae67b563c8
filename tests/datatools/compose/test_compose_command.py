"""`dmx data compose` as a user types it, and killed at random moments."""

import random
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
import pytest

from dmx.data.layout import read


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "dmx", "data", "compose", *map(str, arguments)]


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() for path in files}


def folders(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_dir())


def killed_and_repeated(backgrounds: Path, cutouts: Path, root: Path, kills: int, count: int) -> None:
    """Compose without a stop and with `kills`, each at a random number of pictures or soon after, and compare."""
    whole, broken = root / "whole" / "set", root / "broken" / "set"
    options = ("--count", count, "--places", 100, "--size", 40, "--val", 0.2, "--test", 0.2)
    subprocess.run(command(backgrounds, cutouts, whole, *options), check=True, capture_output=True)
    images = root / "broken" / ".set.partial" / "image"
    moments: list[int] = []
    for goal in sorted(random.Random(5).sample(range(round(0.8 * count)), kills)):
        run = subprocess.Popen(command(backgrounds, cutouts, broken, *options), stderr=subprocess.DEVNULL)
        while run.poll() is None and (not images.exists() or len(list(images.glob("*"))) <= goal):
            time.sleep(0.002)
        assert run.poll() is None, f"it ended before it could be killed (after {moments})"
        run.send_signal(signal.SIGKILL)
        run.wait()
        moments.append(len(list(images.glob("*"))))
        assert not broken.exists()
    done = subprocess.run(command(backgrounds, cutouts, broken, *options), check=True, capture_output=True, text=True)
    assert f"now holds {count} samples" in done.stdout
    assert moments[-1] > 0
    assert contents(broken) == contents(whole)
    assert folders(root / "broken") == folders(root / "whole")


@pytest.mark.slow
def test_killed_twice_it_goes_on_to_the_same_bytes(rooms_with_depth: Path, cutouts: Path, tmp_path: Path) -> None:
    killed_and_repeated(rooms_with_depth, cutouts, tmp_path, kills=2, count=100)


@pytest.mark.slow
def test_killed_ten_times_it_goes_on_to_the_same_bytes(rooms_with_depth: Path, cutouts: Path, tmp_path: Path) -> None:
    killed_and_repeated(rooms_with_depth, cutouts, tmp_path, kills=10, count=1500)


def test_another_command_does_not_go_on_with_what_one_began(plain: Path, cutouts: Path, tmp_path: Path) -> None:
    (tmp_path / ".set.partial").mkdir()
    (tmp_path / ".set.plan").write_text("dmx data compose: of before")
    done = subprocess.run(
        command(plain, cutouts, tmp_path / "set", "--size", 16, "--count", 9), capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "is what another command has begun (dmx data compose: of before); repeat that one, or remove" in done.stderr


@pytest.mark.slow
@pytest.mark.realdata
def test_real_rooms_and_people(real_data: Path, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "dmx", "data", "import", "nyuv2", str(real_data / "nyuv2"), str(tmp_path / "nyu")],
        check=True,
        capture_output=True,
    )
    options = ("--part", "train", "--count", 40, "--size", 96, "--fov", 44.6)
    people = real_data / "eva4_a" / "fg"
    subprocess.run(command(tmp_path / "nyu", people, tmp_path / "set", *options), check=True, capture_output=True)
    index = read(tmp_path / "set")
    assert len(index.samples) == 40
    for record in index.samples:
        mask = cv2.imread(str(index.pictures / record.mask), cv2.IMREAD_UNCHANGED)
        depth = cv2.imread(str(index.pictures / str(record.depth)), cv2.IMREAD_UNCHANGED)
        assert set(np.unique(mask)) == {0, 255}
        assert len(np.unique(depth[mask > 0])) == 1
        assert depth.min() > 0
    done = subprocess.run([sys.executable, "-m", "dmx", "data", "check", str(tmp_path / "set")], capture_output=True)
    assert done.returncode == 0
