"""A table of learning curves of every configuration of a small search space, for `benchmarks/search.py`.

    python benchmarks/curves.py [--out data/curves.jsonl]

324 configurations of DepthMaskNet are trained for 9 epochs each on 160 made pictures of 32 pixels; the table keeps the
validation metrics after each epoch. It goes on where it was left. Searches replayed on such a table cost nothing, so
that many seeds and methods can be compared on real curves (the idea of tabular benchmarks: Klein and Hutter 2019,
"Tabular benchmarks for joint architecture and hyperparameter optimization").
"""

import argparse
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from rich.progress import track

from dmx.config import StudyConfig, parse_experiment, parse_study
from dmx.config.space import Space, build_space
from dmx.datatools.synth import synth
from dmx.experiment import RunOptions, Tracking, prepare, run
from dmx.outcome import Outcome
from dmx.sweep.design import grid
from dmx.tracking.home import Home

EPOCHS = 9
DEPTH, MASK = "val/depth/rmse_pooled", "val/mask/iou_pooled"
SEARCH: dict[str, Any] = {
    "optimizer": ["adamw", "sgd"],
    "optimizer.adamw.lr": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2],
    "optimizer.sgd.lr": [1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1],
    "model.depthmasknet.width": [4, 8, 12],
    "loss.depth": ["silog", "l1", "berhu"],
    "loss.depth.silog.lam": 0.85,
    "loss.depth.berhu.threshold": 0.2,
    "optimizer.adamw.weight_decay": 0.01,
    "optimizer.sgd.momentum": 0.9,
    "optimizer.sgd.weight_decay": 1e-4,
    "weighting.fixed.depth": [0.1, 1.0, 10.0],
}


def study(data: Path, **changes: Any) -> tuple[StudyConfig, Space]:
    """The space; with these pictures."""
    experiment = {
        "name": "curves",
        "data": {"root": str(data)},
        "model": {"name": "depthmasknet", "width": 8},
        "loss": {"mask": "bce_dice", "depth": "silog"},
        "optimizer": {"name": "adamw", "lr": 1e-3},
        "schedule": "constant",
        "stages": [{"epochs": EPOCHS, "size": 32, "batch_size": 16}],
        "augment": {"steps": []},
        "objective": DEPTH,
    }
    config = parse_study(
        {"name": "curves", "experiment": experiment, "search": SEARCH, "trials": 1, **changes}, "study"
    )
    return config, build_space(config, "metric")


def key(values: Mapping[str, Any]) -> str:
    """A configuration as the name of its row."""
    return json.dumps(dict(sorted(values.items())))


def read(path: Path) -> dict[str, dict[str, Any]]:
    """The rows that are there, by key."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {row["key"]: row for row in map(json.loads, lines)}


def curve(space: Space, values: Mapping[str, Any], home: Home) -> dict[str, Any]:
    """Train one configuration."""
    prepared = prepare(parse_experiment(space.raw(dict(values)), "row"), home)
    epochs: list[dict[str, float | None]] = []

    def keep(epoch: int, metrics: Mapping[str, float | None]) -> str:
        epochs.append({DEPTH: metrics[DEPTH], MASK: metrics[MASK]})
        return ""

    run_id = f"row-{len(list(home.root.glob('runs/*')))}"
    result, _ = run(prepared, home, run_id, Tracking("curves", stores=False), RunOptions(report=keep))
    if result.outcome is Outcome.INTERRUPTED:
        raise KeyboardInterrupt
    return {"key": key(values), "outcome": str(result.outcome), "parameters": prepared.parameters, "epochs": epochs}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path("data/curves.jsonl"))
    out = parser.parse_args().out
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        synth(data, count=160, size=32, seed=0, workers=1)
        _, space = study(data)
        known, wanted = read(out), list(grid(space.dimensions, {}))
        missing = [values for values in wanted if key(values) not in known]
        for values in track(missing, f"{len(wanted)} configurations"):
            row = curve(space, values, Home(Path(folder) / "home"))
            with out.open("a") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
