"""The tasks whose learning curves are tabulated: their data, their experiments and their search spaces.

Each space is a grid of some 200 configurations with conditional branches, of which every one is trained. All train with
the schedule of the baseline for 20 steps an epoch at 32 pixels.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dmx.config import StudyConfig, parse_study
from dmx.config.space import Space, build_space
from dmx.datatools.synth import synth

DEPTH, MASK = "val/depth/rmse_pooled", "val/mask/iou_pooled"
SIZE, BATCH, STEPS, VALIDATION = 32, 4, 20, 40
PRETRAINED = {"name": "linknet", "encoder": "tu-tf_efficientnet_lite0", "weights": "in1k"}
ADAMW, SGD = [3e-4, 1e-3, 3e-3, 1e-2, 3e-2], [1e-3, 1e-2, 3e-2, 1e-1, 3e-1]
OPTIMIZERS = {
    "optimizer": ["adamw", "sgd"],
    "optimizer.adamw.lr": ADAMW,
    "optimizer.adamw.weight_decay": 0.01,
    "optimizer.sgd.lr": SGD,
    "optimizer.sgd.momentum": 0.9,
    "optimizer.sgd.weight_decay": 1e-4,
}
FINE_TUNING = {
    "groups.encoder_lr": [0.0, 0.1, 1.0],
    "optimizer.adamw.lr": [3e-4, 1e-3, 2e-3, 5e-3, 1e-2, 3e-2],
    "model.linknet.details": [False, True],
    "weighting.fixed.depth": [1.0, 10.0],
}


@dataclass(frozen=True)
class Task:
    """One table.

    Attributes:
        kind: The kind of depth.
        search: The space, as in a study.
        model: The network that it varies.
        loss: The losses that it varies.
        objective: What is searched for where one objective is.
        epochs: Of each training.
        source: Makes the pictures in a folder and returns where they are; None: they are where `folder` says.
        folder: The data set, below the folder of all data.
        commands: What makes that data set.
    """

    kind: str
    search: Mapping[str, Any]
    model: Mapping[str, Any]
    loss: Mapping[str, Any]
    objective: str = DEPTH
    epochs: int = 9
    source: Callable[[Path], Any] | None = None
    folder: str = ""
    commands: str = ""

    def study(self, root: Path = Path("none"), **changes: Any) -> tuple[StudyConfig, Space]:
        """A study of the space, with the data in `root`."""
        experiment = {
            "name": "table",
            "data": {"root": str(root), "split": {"val": 0.3, "test": 0.0}, "cache": "memory", "workers": 0},
            "model": dict(self.model),
            "loss": dict(self.loss),
            "optimizer": {"name": "adamw", "lr": 1e-3},
            "schedule": "one_cycle",
            "stages": [{"epochs": self.epochs, "size": SIZE, "batch_size": BATCH}],
            "objective": self.objective,
        }
        raw = {"name": "table", "experiment": experiment, "search": dict(self.search), "trials": 1, **changes}
        config = parse_study(raw, "study")
        return config, build_space(config, self.kind)

    def definition(self) -> dict[str, Any]:
        """What decides the curves beside the pictures: the experiment and the space, whatever version made them."""
        config, _ = self.study()
        experiment = config.experiment.dump()
        experiment["data"] = experiment["data"]["split"]  # the rest only says where and how fast
        return {"experiment": experiment, "search": dict(self.search), "steps": STEPS, "validation": VALIDATION}


def key(values: Mapping[str, Any]) -> str:
    """A configuration as the name of its row."""
    return json.dumps(dict(sorted(values.items())))


NYU = {
    "folder": "nyuv2",
    "commands": "dmx data import nyuv2 FOLDER data/nyuv2, where FOLDER has the pictures of NYU Depth V2",
}
COMPOSED = {
    "folder": "composed",
    "commands": f"{NYU['commands']}; dmx data compose data/nyuv2 PEOPLE data/composed --part train --count 2000 "
    "--size 192 --fov 44.6, where PEOPLE has cut-out pictures of people",
}
LOSSES: Mapping[str, Any] = {"mask": "bce_dice", "depth": "silog"}
TASKS = {
    "rooms": Task(
        kind="metric",
        source=partial(synth, count=200, size=SIZE, seed=0, per_room=2, workers=1),
        model={"name": "depthmasknet", "width": 4},
        loss=LOSSES,
        search={
            **OPTIMIZERS,
            "model.depthmasknet.width": [4, 6],
            "loss.depth": ["silog", "l1", "berhu"],
            "loss.depth.silog.lam": [0.5, 0.85],
            "loss.depth.berhu.threshold": [0.1, 0.4],
            "weighting.fixed.depth": [1.0, 10.0],
        },
    ),
    "relative": Task(
        kind="relative",
        source=partial(synth, count=200, size=SIZE, seed=1, per_room=2, workers=1, kind="relative"),
        model={"name": "depthmasknet", "width": 4},
        loss={"mask": "bce", "depth": "l1"},
        search={
            "optimizer": ["adamw", "lion"],
            "optimizer.adamw.lr": ADAMW,
            "optimizer.adamw.weight_decay": 0.01,
            "optimizer.lion.lr": [1e-4, 3e-4, 1e-3, 3e-3],
            "optimizer.lion.weight_decay": 0.01,
            "model.depthmasknet.skips": [False, True],
            "loss.mask": ["bce", "bce_dice", "lovasz"],
            "loss.mask.bce_dice.dice_weight": [0.3, 3.0],
            "loss.depth": ["l1", "huber"],
            "loss.depth.huber.delta": [0.02, 0.2],
        },
    ),
    "composed": Task(
        kind="metric",
        **COMPOSED,
        model={"name": "depthmasknet", "width": 4},
        loss=LOSSES,
        objective=MASK,
        search={
            "optimizer.adamw.lr": [*ADAMW, 1e-1],
            "model.depthmasknet.inputs": ["image", "image+background"],
            "model.depthmasknet.width": [4, 6],
            "loss.mask": ["bce_dice", "focal"],
            "loss.mask.bce_dice.dice_weight": [0.3, 3.0],
            "loss.mask.focal.alpha": 0.75,
            "loss.mask.focal.gamma": 2.0,
            "weighting": ["fixed", "uncertainty"],
            "weighting.fixed.mask": [1.0, 10.0],
            "weighting.fixed.depth": 1.0,
        },
    ),
    "nyuv2": Task(
        kind="metric",
        **NYU,
        model={"name": "depthmasknet", "width": 4, "inputs": "image"},
        loss=LOSSES,
        search={
            **OPTIMIZERS,
            "model.depthmasknet.skips": [False, True],
            "loss.depth": ["silog", "l1", "log_l1", "huber"],
            "loss.depth.silog.lam": [0.5, 0.85],
            "loss.depth.huber.delta": 0.2,
            "weighting.fixed.depth": [1.0, 10.0],
        },
    ),
    "rooms-pretrained": Task(
        kind="metric",
        source=partial(synth, count=200, size=SIZE, seed=2, per_room=2, workers=1),
        model=PRETRAINED,
        loss=LOSSES,
        epochs=6,
        search={
            **FINE_TUNING,
            "loss.depth": ["silog", "l1", "huber"],
            "loss.depth.silog.lam": 0.5,
            "loss.depth.huber.delta": 0.2,
        },
    ),
    "nyuv2-pretrained": Task(
        kind="metric",
        **NYU,
        model={**PRETRAINED, "inputs": "image"},
        loss=LOSSES,
        epochs=6,
        search={
            **FINE_TUNING,
            "optimizer.adamw.lr": ADAMW,
            "loss.depth": ["silog", "l1"],
            "loss.depth.silog.lam": 0.5,
            "loss.mask": ["bce_dice", "lovasz"],
            "loss.mask.bce_dice.dice_weight": 1.0,
        },
    ),
}
