"""Small data sets: a rendered one, and folders of plain pictures to spoil."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from dmx.data.layout import DatasetIndex, read
from dmx.data.synth import synth


@pytest.fixture(scope="session")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> DatasetIndex:
    """27 quartets of 32x32 in 7 rooms."""
    out = tmp_path_factory.mktemp("synth") / "rooms"
    synth(out, count=27, size=32, seed=0, workers=1)
    return read(out)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two quartets of 8 pixels wide and 6 high over one background: group `a`, metric depth of 1 to 5 m, 0 unknown."""
    root = tmp_path / "plain"
    declaration = {
        "name": "plain",
        "depth": {"kind": "metric", "scale": 0.001, "range": [1.0, 5.0], "unknown": [0]},
    }
    root.mkdir()
    (root / "dataset.yaml").write_text(yaml.safe_dump(declaration))
    (root / "samples.csv").write_text(
        "id,group,image,mask,depth,background\n"
        "s1,a,image/s1.png,mask/s1.png,depth/s1.png,background/b.png\n"
        "s0,a,image/s0.png,mask/s0.png,depth/s0.png,background/b.png\n"
    )
    for name in ("s0", "s1"):
        save(root / f"image/{name}.png", np.full((6, 8, 3), (255, 10, 0), np.uint8))
        mask = np.zeros((6, 8), np.uint8)
        mask[2:4, 3:6] = 255
        save(root / f"mask/{name}.png", mask)
        depth = np.full((6, 8), 2500, np.uint16)
        depth[0] = 0
        save(root / f"depth/{name}.png", depth)
    save(root / "background/b.png", np.full((6, 8, 3), (0, 10, 255), np.uint8))
    return root


def save(path: Path, rgb: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), rgb[..., ::-1] if rgb.ndim == 3 else rgb)
