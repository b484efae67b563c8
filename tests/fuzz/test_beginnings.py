"""Numbers of a configuration that are legal one by one, taken as far as the first step of training."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
from helpers.fuzzing import COUNTS, Door, fuzz
from helpers.homes import EXPERIMENT
from helpers.mutating import FLOATS, NUMBERS, one_of

PLACES: tuple[tuple[str | int, ...], ...] = (
    *(("stages", 0, "epochs"), ("stages", 0, "size"), ("stages", 0, "batch_size"), ("stages", 0, "share"), ("seed",)),
    *(
        ("model", "width"),
        ("optimizer", "lr"),
        ("optimizer", "weight_decay"),
        ("data", "split", "val"),
        ("data", "workers"),
    ),
    *(
        ("training", "log_every"),
        ("training", "clip_norm"),
        ("training", "ema_decay"),
        ("training", "checkpoint_seconds"),
    ),
)
WIDEST, LARGEST = 128, 1024
"""Of a network and of pictures: more, which is legal, takes the gigabytes and seconds that it is asked to take."""


class Beginnings(Door):
    """An experiment that is prepared and whose learner is built."""

    few, many = 100, 10_000

    def make(self) -> None:
        from dmx.datatools.synth import synth

        synth(self.folder / "data", count=12, size=16, seed=0, workers=1)
        self.data = self.experiment = {
            **EXPERIMENT,
            "data": {"root": str(self.folder / "data"), "split": {"val": 0.25, "test": 0.25}, "cache": "none"},
        }

    def mutate(self, rng: np.random.Generator) -> dict[str, Any]:
        self.data = copy.deepcopy(self.experiment)
        for _ in range(int(rng.integers(1, 3))):
            *path, key = one_of(rng, PLACES)
            node: Any = self.data
            for part in path:
                node = node[part]
            node[key] = one_of(rng, (*NUMBERS, *FLOATS, int(rng.integers(1, 5_000)), float(rng.random())))
        return self.data

    def enter(self) -> None:
        from dmx.config import parse_experiment
        from dmx.experiment.prepare import prepare
        from dmx.experiment.run import learner_of
        from dmx.tracking import Home

        config = parse_experiment(self.data, "experiment")
        if config.model.width <= WIDEST and max(max(stage.height_width) for stage in config.stages) <= LARGEST:
            learner_of(prepare(config, Home(Path("home"))))


@COUNTS
def test_beginnings(count: str) -> None:
    fuzz(Beginnings, count)
