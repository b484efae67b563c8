"""How many trials an hour two workers do where one did some.

    python benchmarks/workers.py [--workers 2] [--trials 12] [--rounds 2]

The same study of a grid of learning rates, no pruning, each trial on one thread, by `dmx sweep` with one worker and
with several, by turns, each in a fresh home. The time is from the first trial's start to the last one's end; that of
the whole command, with its start, stands beside it. The forwarder to MLflow and TensorBoard works beside them.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rich.console import Console
from rich.table import Table

from dmx.datatools.synth import synth
from dmx.sweep.definition import load_trials
from dmx.tracking.home import Home


def study(data: Path, trials: int) -> dict[str, Any]:
    """Trials of some seconds each."""
    experiment = {
        "name": "workers",
        "data": {"root": str(data)},
        "model": {"name": "depthmasknet", "width": 16},
        "loss": {"mask": "bce_dice", "depth": "l1"},
        "optimizer": {"name": "adamw", "lr": 1e-3},
        "stages": [{"epochs": 4, "size": 64, "batch_size": 16}],
    }
    rates = np.geomspace(1e-4, 1e-2, trials).tolist()
    search = {"optimizer.adamw.lr": rates}
    return {
        "name": "workers",
        "experiment": experiment,
        "search": search,
        "trials": trials,
        "sampler": "grid",
        "pruner": "none",
    }


def timed(path: Path, home: Path, workers: int) -> tuple[float, float]:
    """Seconds from the first trial's start to the last one's end, and of the whole command."""
    began = time.monotonic()
    command = [sys.executable, "-m", "dmx", "sweep", str(path), "--home", str(home), "--workers", str(workers)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(workers)}  # divided among them: one thread each
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    whole = time.monotonic() - began
    trials = load_trials(Home(home), "workers", None)[1].trials()
    starts = [trial.datetime_start for trial in trials if trial.datetime_start]
    ends = [trial.datetime_complete for trial in trials if trial.datetime_complete]
    assert len(ends) == len(trials)
    return (max(ends) - min(starts)).total_seconds(), whole


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    table = Table(title=f"{given.trials} trials, medians of {given.rounds} rounds")
    for column in ("workers", "trials an hour", "of one", "whole command", "of one"):
        table.add_column(column)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        synth(folder / "data", count=240, size=64, seed=0, workers=1)
        path = folder / "study.yaml"
        path.write_text(yaml.safe_dump(study(folder / "data", given.trials)))
        found: dict[int, list[tuple[float, float]]] = {1: [], given.workers: []}
        for turn in range(given.rounds):
            for workers, times in found.items():
                times.append(timed(path, folder / f"{workers}-{turn}", workers))
                print(workers, times[-1], file=sys.stderr)
    middle = {
        workers: [statistics.median(each) for each in zip(*times, strict=True)] for workers, times in found.items()
    }
    for workers, (trials, whole) in middle.items():
        hour, ratio, of_whole = 3600 * given.trials / trials, middle[1][0] / trials, middle[1][1] / whole
        table.add_row(str(workers), f"{hour:.0f}", f"{ratio:.2f}", f"{whole:.0f} s", f"{of_whole:.2f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
