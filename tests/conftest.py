"""What many tests share: a small data set, an experiment on it, and a place for results."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    import numpy as np

    from dmx.data.layout import DatasetIndex

# one thread: the same bits everywhere, and tests that run side by side do not slow each other down
os.environ.setdefault("OMP_NUM_THREADS", "1")
# where two threads are asked for, one that waits leaves its core to the tests beside it
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # or its import asks the network for a newer version

settings.register_profile("dmx", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("dmx")

ROOT = Path(__file__).parent.parent
REAL = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data, where this machine has it."""
    if not REAL.is_dir():
        pytest.skip(f"the real data is not at {REAL}")
    return REAL


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 synthetic quartets of 32x32 over 12 rooms."""
    from dmx.datatools.synth import synth

    out = tmp_path_factory.mktemp("data") / "tiny"
    synth(out, count=48, size=32, seed=0, workers=1)
    return out


@pytest.fixture
def tiny(tiny_data: Path) -> Callable[..., dict[str, Any]]:
    """Plain data of an experiment that trains in a second; keywords replace its keys."""

    def make(**changes: Any) -> dict[str, Any]:
        return {
            "name": "tiny",
            "data": {"root": str(tiny_data), "split": {"val": 0.25, "test": 0.25}},
            "model": {"name": "depthmasknet", "width": 4},
            "loss": {"mask": "bce_dice", "depth": "silog"},
            "optimizer": {"name": "adamw", "lr": 1e-3},
            "stages": [{"epochs": 2, "size": 32, "batch_size": 8}],
            "training": {"log_every": 1},
            **changes,
        }

    return make


@pytest.fixture(scope="session")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> "DatasetIndex":
    """27 quartets of 32x32 in 7 rooms."""
    from dmx.data.layout import read
    from dmx.datatools.synth import synth

    out = tmp_path_factory.mktemp("synth") / "rooms"
    synth(out, count=27, size=32, seed=0, workers=1)
    return read(out)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two quartets of 8 pixels wide and 6 high over one background: group `a`, metric depth of 1 to 5 m, 0 unknown."""
    import numpy as np
    import yaml

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
        save_picture(root / f"image/{name}.png", np.full((6, 8, 3), (255, 10, 0), np.uint8))
        mask = np.zeros((6, 8), np.uint8)
        mask[2:4, 3:6] = 255
        save_picture(root / f"mask/{name}.png", mask)
        depth = np.full((6, 8), 2500, np.uint16)
        depth[0] = 0
        save_picture(root / f"depth/{name}.png", depth)
    save_picture(root / "background/b.png", np.full((6, 8, 3), (0, 10, 255), np.uint8))
    return root


def save_picture(path: Path, rgb: "np.ndarray") -> None:
    import cv2

    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), rgb[..., ::-1] if rgb.ndim == 3 else rgb)
