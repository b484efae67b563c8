"""Small folders in the shapes of foreign data sets."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from dmx.data.writing import Summary
from dmx.registry import importers, load

Run = Callable[..., Summary]
Save = Callable[[Path, np.ndarray], None]
MAPPING = {
    "name": "office",
    "files": {"image": "rgb/*.png", "mask": "mask/*.png", "depth": "depth/*.png"},
    "group": "id",
    "depth": {"kind": "metric", "range": [0.4, 10.0], "scale": 0.001},
}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Import `source` by the importer `name` into `tmp_path/out`, as the command does."""

    def import_(name: str, source: Path, *, copy: bool = False) -> Summary:
        load()
        found = importers[name].params().bind()(source, tmp_path / "out", None, copy)
        assert isinstance(found, Summary)
        return found

    return import_


@pytest.fixture
def save() -> Save:
    """Write a picture, grey or BGR, by its suffix."""

    def write(path: Path, pixels: np.ndarray) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), pixels)

    return write


@pytest.fixture
def by_name(tmp_path: Path, save: Save) -> Path:
    root = tmp_path / "a"
    for number in ("001", "002", "003"):
        stem = f"ol_bg{number}fg{number}1_fg_{number}"
        save(root / f"bg/bg_{number}.jpg", np.full((8, 8, 3), 10, np.uint8))
        save(root / f"bgfg_overlay/{stem}.png", np.full((8, 8, 3), 20, np.uint8))
        save(root / f"bgfg_mask/mask_{stem}.png", np.array([[0, 90, 127, 128, 200, 255, 255, 3]] * 8, np.uint8))
        save(root / f"bgfg_depth/depth_{stem}.jpg", np.full((8, 8), 51, np.uint8))
    return root


@pytest.fixture
def by_number(tmp_path: Path, save: Save) -> Path:
    root = tmp_path / "b"
    for number in ("0050", "0100"):
        save(root / f"bg/bg_{number[:3]}.jpg", np.full((8, 8, 3), int(number[:3]), np.uint8))
        save(root / f"fg_bg/img_{number}.jpg", np.full((8, 8, 3), 20, np.uint8))
        save(root / f"fg_bg_mask/img_{number}.jpg", np.full((8, 8), 250, np.uint8))
        save(root / f"fg_bg_depth/img_{number}.jpg", np.full((8, 8, 3), 102, np.uint8))
    return root


@pytest.fixture
def flat(tmp_path: Path, save: Save) -> Path:
    """12 quartets over 3 backgrounds, numbered without leading zeros; quartet n (from 0) is n everywhere."""
    root = tmp_path / "flat"
    for number in range(3):
        save(root / f"bg/room{number + 9}.png", np.full((8, 8, 3), 100 + number, np.uint8))
    for number in range(12):
        save(root / f"bg_fg/{number}.png", np.full((8, 8, 3), number, np.uint8))
        save(root / f"mask/{number}_mask.png", np.full((8, 8), 128 + number, np.uint8))
        save(root / f"depth/d{number}.png", np.full((8, 8), number, np.uint8))
    return root


@pytest.fixture
def pack() -> Callable[[Path, Path, str], Path]:
    """Put a folder into a zip file, under a prefix."""

    def write(folder: Path, path: Path, prefix: str = "") -> Path:
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(folder.rglob("*")):
                archive.write(file, prefix + str(file.relative_to(folder)))
        return path

    return write


@pytest.fixture
def nyu(tmp_path: Path, save: Save) -> Path:
    root = tmp_path / "nyu"
    label = np.array([[0, 1, 2, 5], [38, 31, 22, 39]], np.uint8)
    for number in range(1, 7):
        save(root / f"image/{number:04d}.jpg", np.full((2, 4, 3), 90, np.uint8))
        save(root / f"depth/{number:04d}.png", np.full((2, 4), 50 + number, np.uint8))
        save(root / f"label/{number:04d}.png", label)
    (root / "split.csv").write_text("id,split\n0001,train\n0002,train\n0003,test\n0004,train\n0005,test\n0006,test\n")
    return root


@pytest.fixture
def map_(tmp_path: Path) -> Callable[..., Path]:
    """Write a mapping; keywords replace its keys."""

    def write(**changes: Any) -> Path:
        path = tmp_path / "set" / "mapping.yaml"
        path.parent.mkdir(exist_ok=True)
        given = {**MAPPING, **changes}
        path.write_text(yaml.safe_dump({key: value for key, value in given.items() if value != "left out"}))
        return path

    return write


@pytest.fixture
def pictures(tmp_path: Path, save: Save) -> Path:
    """Two triplets of 6 pixels wide and 4 high, depth of 16 bits in millimetres, the mask in two values."""
    root = tmp_path / "set"
    for number, name in enumerate(("a1", "a2")):
        save(root / f"rgb/{name}.png", np.full((4, 6, 3), 50 + number, np.uint8))
        save(root / f"mask/{name}.png", np.eye(4, 6, dtype=np.uint8) * 255)
        save(root / f"depth/{name}.png", np.rint(np.linspace(0.5, 9, 24).reshape(4, 6) * 1000).astype(np.uint16))
    return root
