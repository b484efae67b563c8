"""Runs that are trained in a second, for what needs a run and not a good one."""

from pathlib import Path
from typing import Any

from dmx.config import parse_experiment
from dmx.experiment import Tracking, prepare, run
from dmx.tracking import Home


def small_run(home: Home, data: Path, name: str, inputs: str, *, stores: bool = False, **changes: Any) -> Any:
    """Train a small network for one epoch; returns the experiment as prepared."""
    config = {
        "name": name,
        "data": {"root": str(data), "split": {"val": 0.25, "test": 0.25}},
        "model": {"name": "depthmasknet", "width": 4, "inputs": inputs},
        "loss": {"mask": "bce_dice", "depth": "l1"},
        "optimizer": {"name": "adamw", "lr": 1e-3},
        "stages": [{"epochs": 1, "size": 32, "batch_size": 8}],
        **changes,
    }
    prepared = prepare(parse_experiment(config, name), home)
    run(prepared, home, name, Tracking("tiny", {"dmx.role": "run"}, stores=stores))
    return prepared
