from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def tiny_study(tiny: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Plain data of a study whose trials take a second; keywords replace its keys."""

    def make(**changes: Any) -> dict[str, Any]:
        return {
            "name": "tiny",
            "experiment": tiny(),
            "search": {
                "loss.depth": ["silog", "l1"],
                "optimizer": ["adamw", "sgd"],
                "model.depthmasknet.width": [4, 6],
            },
            "trials": 4,
            "sampler": {"name": "tpe", "startup_trials": 2},
            "pruner": {"name": "median", "startup_trials": 2, "warmup_epochs": 0},
            "train_best": {
                "finalists": 1,
                "seeds": [0, 1],
                "stages": [{"epochs": 1, "size": 32, "batch_size": 8}],
            },
            **changes,
        }

    return make
