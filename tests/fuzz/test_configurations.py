"""Experiments and studies in YAML, with what they extend and what `-s` sets in them."""

from typing import Any

import numpy as np
import yaml
from helpers.fuzzing import COUNTS, Door, fuzz
from helpers.mutating import mutated_bytes, mutated_text, one_of
from helpers.mutating_values import mutated_value, mutated_yaml

from dmx.config import load_experiment, load_study
from dmx.config.space import build_space

EXPERIMENT: dict[str, Any] = {
    "name": "fuzzed",
    "seed": 3,
    "plugins": [],
    "data": {"root": "data", "split": {"val": 0.25, "test": 0.25, "by": "group"}, "workers": 2, "cache": "none"},
    "model": {"name": "depthmasknet", "width": 4},
    "loss": {"mask": ["bce_dice", {"name": "focal", "weight": 0.5}], "depth": {"name": "silog", "lam": 0.5}},
    "augment": {"steps": ["horizontal_flip", {"name": "gamma", "p": 0.5}], "where": "cpu"},
    "weighting": {"name": "gradnorm", "alpha": 1.5},
    "optimizer": {"name": "adamw", "lr": 1e-3, "weight_decay": 0.01},
    "schedule": "cosine",
    "groups": {"encoder_lr": 0.1},
    "stages": [
        {"epochs": 2, "size": 32, "batch_size": 8},
        {"epochs": 1, "size": [32, 48], "batch_size": 4, "share": 0.5},
    ],
    "training": {"device": "cpu", "precision": "float32", "clip_norm": 1.0, "ema_decay": 0.9, "log_every": 5},
    "objective": {"metric": "val/mask/iou_pooled", "direction": "maximize"},
}
STUDY: dict[str, Any] = {
    "name": "fuzzed",
    "experiment": {**EXPERIMENT, "groups": {}},
    "search": {
        "model": ["depthmasknet", "unet"],
        "model.unet.encoder": ["resnet18"],
        "optimizer": "auto",
        "optimizer.adamw.lr": {"low": 1e-4, "high": 1e-2, "log": True},
        "training.clip_norm": [None, 1.0],
    },
    "trials": 4,
    "objectives": [{"metric": "parameters", "direction": "minimize"}],
    "queue": [{"model": "unet"}],
    "sampler": {"name": "tpe", "startup_trials": 2},
    "pruner": {"name": "halving", "min_epochs": 1},
    "train_best": {"seeds": [0, 1], "stages": [{"epochs": 3, "size": 32, "batch_size": 8}]},
}
SETTINGS = (
    "optimizer.lr=3e-4",
    "stages.0.epochs=3",
    "model={name: depthmasknet, width: 8}",
    "loss.mask.1.weight=2",
    "seed=1",
)


class Experiments(Door):
    """The file of an experiment."""

    few = 400

    def make(self) -> None:
        self.path = self.folder / "experiment.yaml"
        self.path.write_text(yaml.safe_dump(EXPERIMENT, sort_keys=False))

    def mutate(self, rng: np.random.Generator) -> bytes:
        data = mutated_yaml(EXPERIMENT, rng)
        self.path.write_bytes(data)
        return data

    def enter(self) -> None:
        load_experiment(self.path).dump()


class Studies(Experiments):
    """The file of a study, with its space."""

    few = 150

    def make(self) -> None:
        self.path = self.folder / "study.yaml"
        self.path.write_text(yaml.safe_dump(STUDY, sort_keys=False))

    def mutate(self, rng: np.random.Generator) -> bytes:
        data = mutated_yaml(STUDY, rng)
        self.path.write_bytes(data)
        return data

    def enter(self) -> None:
        config = load_study(self.path)
        build_space(config)
        config.dump()


class Bases(Door):
    """What an experiment extends: the name of the other file and what is in that."""

    few = 150

    def make(self) -> None:
        self.path, self.base = self.folder / "experiment.yaml", self.folder / "base.yaml"
        self.base.write_text(yaml.safe_dump(EXPERIMENT))
        self.path.write_text(yaml.safe_dump({"extends": "base.yaml", "optimizer": {"extends": "base.yaml"}}))
        self.path.write_text(yaml.safe_dump({"extends": "base.yaml", "seed": 4}))

    def mutate(self, rng: np.random.Generator) -> bytes:
        if rng.random() < 0.2:
            self.base.write_bytes(mutated_bytes(self.whole(self.base), rng))
            return self.base.read_bytes()
        small = {"extends": one_of(rng, ("base.yaml", "./base.yaml", "experiment.yaml", ".")), "stages": None}
        data = mutated_yaml(small, rng)
        self.path.write_bytes(data)
        return data

    def enter(self) -> None:
        load_experiment(self.path)


class Overrides(Experiments):
    """What `-s` sets."""

    few = 400
    given: tuple[str, ...] = SETTINGS

    def mutate(self, rng: np.random.Generator) -> tuple[str, ...]:
        key, _, text = one_of(rng, SETTINGS).partition("=")
        value = yaml.safe_dump(mutated_value(yaml.safe_load(text), rng), default_flow_style=True).strip()
        self.given = (
            f"{mutated_text(key, rng) if rng.random() < 0.5 else key}={value}",
            mutated_text(one_of(rng, SETTINGS), rng),
        )
        return self.given

    def enter(self) -> None:
        load_experiment(self.path, self.given)


@COUNTS
def test_experiments(count: str) -> None:
    fuzz(Experiments, count)


@COUNTS
def test_studies(count: str) -> None:
    fuzz(Studies, count)


@COUNTS
def test_what_is_extended(count: str) -> None:
    fuzz(Bases, count)


@COUNTS
def test_overrides(count: str) -> None:
    fuzz(Overrides, count)
