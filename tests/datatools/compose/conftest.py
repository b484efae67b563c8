"""Small scenes and cut-outs to compose."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml


@pytest.fixture
def cutouts(tmp_path: Path) -> Path:
    """Eight cut-outs of 30 rows and 12 columns, opaque but for a rim of alpha 64, each of its own colour."""
    folder = tmp_path / "cutouts"
    folder.mkdir()
    for i in range(8):
        bgra = np.full((32, 14, 4), (20, 40, 255 - 25 * i, 64), np.uint8)
        bgra[1:-1, 1:-1, 3] = 255
        bgra[8:16, 2:6, :3] = 0  # left is not right
        cv2.imwrite(str(folder / f"fg{i}.png"), bgra)
    return folder


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """Ten pictures of noise, 48 pixels wide and 40 high, as PNG and JPEG with suffixes of any case."""
    folder = tmp_path / "plain"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(10):
        suffix = (".png", ".jpg", ".JPG", ".jpeg")[i % 4]
        done, data = cv2.imencode(suffix, rng.integers(60, 255, (40, 48, 3), np.uint8))
        assert done
        (folder / f"bg{i}{suffix}").write_bytes(data.tobytes())
    return folder


@pytest.fixture
def rooms_with_depth(tmp_path: Path) -> Path:
    """Twelve scenes of 40x40 in six groups, official split of nine and three: floor, wall at 7 m, unknown corner."""
    root = tmp_path / "metric"
    rng = np.random.default_rng(1)
    rows = ["id,group,image,mask,depth,split"]
    f = 20 / np.tan(np.radians(22.5))  # 45 degrees over 40 rows
    v = np.arange(40) + 0.5 - 20
    floor = np.where(v > 0, 1.4 * f / np.maximum(v, 0.01), 7.0)  # a level camera 1.4 m above the floor
    depth = np.repeat(np.minimum(floor, 7.0)[:, None], 40, axis=1)
    for folder in ("image", "mask", "depth"):
        (root / folder).mkdir(parents=True)
    for i in range(12):
        raw = np.rint(depth * 1000).astype(np.uint16)
        raw[:6, :6] = 0
        cv2.imwrite(str(root / f"image/{i}.png"), rng.integers(60, 255, (40, 40, 3), np.uint8))
        cv2.imwrite(str(root / f"mask/{i}.png"), np.zeros((40, 40), np.uint8))
        cv2.imwrite(str(root / f"depth/{i}.png"), raw)
        part = "train" if i < 9 else "test"
        rows.append(f"s{i:02d},g{i // 3 if i < 9 else i},image/{i}.png,mask/{i}.png,depth/{i}.png,{part}")
    (root / "samples.csv").write_text("\n".join(rows) + "\n")
    metres = {"kind": "metric", "scale": 0.001, "range": [1.0, 7.5], "unknown": [0]}
    (root / "dataset.yaml").write_text(yaml.safe_dump({"name": "metric", "depth": metres}))
    return root
