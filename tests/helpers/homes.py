"""Folders of results as runs and a study leave them, made in a second: one run is trained, and stands for all."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import yaml

PLACE = "DMX_TEST_HOME"
"""Where the environment says that there is one already."""
EXPERIMENT = {
    "name": "st",
    "model": {"name": "depthmasknet", "width": 4, "inputs": "image"},
    "loss": {"mask": "bce_dice", "depth": "silog"},
    "optimizer": {"name": "adamw", "lr": 1e-3},
    "stages": [{"epochs": 2, "size": 16, "batch_size": 4}],
    "training": {"log_every": 1, "device": "cpu", "keep": "all"},
}


def copy_home(folder: Path) -> Path:
    """A copy of what was made; its runs name the data of the original."""
    shutil.copytree(os.environ[PLACE], folder, dirs_exist_ok=True)
    return folder / "home"


def make_home(folder: Path) -> None:
    """`home` with a single run `r`, a study `st` of three trials, its journal and its runs; `data` beside it."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution
    from optuna.trial import TrialState, create_trial

    from dmx.config import parse_study
    from dmx.datatools.synth import synth
    from dmx.stored import replace_text
    from dmx.sweep.trial_queue import open_queue
    from dmx.tracking import Home
    from helpers.running import execute

    home, data = folder / "home", folder / "data"
    synth(data, count=12, size=16, seed=0, workers=1)
    experiment = {**EXPERIMENT, "data": {"root": str(data), "split": {"val": 0.25, "test": 0.25}}}
    execute(experiment, home)
    space = {"optimizer": ["adamw", "adam"], "optimizer.adamw.lr": {"low": 1e-4, "high": 1e-2}}
    config = parse_study({"name": "st", "experiment": experiment, "search": space, "trials": 3}, "study")
    queue = open_queue(config, Home(home).study("st"))
    replace_text(Home(home).study("st") / "study.yaml", yaml.safe_dump(config.dump(), sort_keys=False))
    lr = {"optimizer.adamw.lr": FloatDistribution(1e-4, 1e-2), "optimizer": CategoricalDistribution(["adamw", "adam"])}
    for number in range(3):
        run = as_trial(home, f"st-{number:04}", number)
        queue.load_study().add_trial(
            create_trial(
                state=TrialState.COMPLETE,
                params={"optimizer.adamw.lr": 1e-3 * (number + 1), "optimizer": "adamw"},
                distributions=lr,
                value=run["best"]["value"],
                user_attrs={"outcome": "complete", "reason": "", "run": f"st-{number:04}"},
                intermediate_values={1: 2.0, 2: run["best"]["value"]},
            )
        )


def as_trial(home: Path, name: str, number: int) -> dict[str, Any]:
    """A copy of the run `r` as a trial of the study, with another learning rate; gives its record."""
    shutil.copytree(home / "runs/r", home / "runs" / name)
    path = home / "runs" / name / "result.json"
    record: dict[str, Any] = json.loads(path.read_text())
    record |= {"run": name, "tags": {"dmx.role": "trial", "dmx.study": "st", "dmx.trial": str(number)}}
    record["params"] |= {"optimizer.lr": 1e-3 * (number + 1)}
    path.write_text(json.dumps(record))
    return record
