"""What many tests share: a small data set, an experiment on it, and a place for results."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

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
    from dmx.data.synth import synth

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
