"""`dmx leaderboard` and `dmx compare` on a store with many runs.

    python benchmarks/many_runs.py [--runs 5000] [--rounds 3]

Each run has 30 parameters, 22 metrics, ten epochs, and the values of 200 validation samples. The commands run as a user
types them, in processes of their own; shown are the median of their wall times, in seconds, and the most memory that
one took, in MB. The goals are 2 s and 1,000 MB at 5,000 runs.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from dmx.sample_table import Meaning, SampleTable
from dmx.tracking.home import BEST_SAMPLES, RESULT, Home

STUDY = "many"
SAMPLES = 200


def record(number: int, rng: np.random.Generator) -> dict[str, object]:
    """A result as a trial leaves it."""
    from dmx.metrics import definitions
    from dmx.quartet import DepthSpec

    meanings = definitions(DepthSpec("metric", 0.5, 10.0))
    meanings = dict([*meanings.items()][:22])
    params = {"model": "unet", "loss.mask": "bce", "loss.depth": "l1", "optimizer": "adamw", "optimizer.lr": 1e-3}
    params |= {f"model.parameter_{i}": float(rng.random()) for i in range(24)} | {"seed": 0}
    metrics = {f"val/{name}": float(rng.random()) for name in meanings}
    objective = {"metric": "val/depth/mae_pooled", "direction": "minimize"}  # one that the samples have
    return {
        "run": f"{STUDY}-{number:04d}",
        "tags": {"dmx.role": "trial", "dmx.study": STUDY, "dmx.trial": str(number)},
        "fingerprint": f"{number:016x}",
        "objective": objective,
        "params": params,
        "parameters": 5_230_720,
        "multiply_adds": 10**9,
        "data": "d",
        "split": "s",
        "size": [64, 64],
        "definitions": meanings,
        "outcome": "complete",
        "reason": "",
        "best": {"epoch": 10, "step": 1000, "value": metrics[objective["metric"]], "metrics": metrics},
        "epochs": 10,
        "steps": 1000,
        "seconds": 60.0,
    }


def make(home: Home, count: int) -> None:
    """The runs' folders, as far as the commands read them."""
    rng = np.random.default_rng(0)
    study = {
        "name": STUDY,
        "experiment": {
            "name": STUDY,
            "data": {"root": "nowhere"},
            "model": {"name": "unet"},
            "loss": {"mask": "bce", "depth": "l1"},
            "optimizer": {"name": "adamw", "lr": 1e-3},
            "stages": [{"epochs": 10, "size": 64, "batch_size": 8}],
        },
        "search": {"optimizer.lr": {"low": 1e-4, "high": 1e-2}},
        "trials": count,
    }
    home.study(STUDY).mkdir(parents=True)
    (home.study(STUDY) / "study.yaml").write_text(json.dumps(study))
    ids = [f"{i:04d}" for i in range(SAMPLES)]
    groups = [f"{i // 4:03d}" for i in range(SAMPLES)]
    for number in range(count):
        one = record(number, rng)
        folder = home.run(str(one["run"]))
        folder.mkdir(parents=True)
        (folder / RESULT).write_text(json.dumps(one, indent=1))
        if number < 40:  # what is compared
            names = {name.rpartition("_pooled")[0] for name in one["definitions"] if name.endswith("_pooled")}  # type: ignore[attr-defined]
            sums = {name: np.column_stack([rng.random((SAMPLES, 4)), np.ones(SAMPLES)]) for name in names}
            meanings = {name: Meaning("ratio", higher_is_better=False) for name in names}
            SampleTable(ids, groups, sums, meanings).save(folder / BEST_SAMPLES)


def timed(home: Home, *words: str) -> tuple[float, float]:
    """Seconds, and the most memory in MB, of one command."""
    command = [sys.executable, "-m", "dmx", *words, "--home", str(home.root)]
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(words)} failed")
    return time.perf_counter() - begun, usage.ru_maxrss / 1000


def main() -> None:
    """Make the runs and time the commands in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        # In a process of its own: what this one imports would count as the most memory of those that it starts.
        making = multiprocessing.get_context("spawn").Process(target=make, args=(home, given.runs))
        making.start()
        making.join()
        commands = {
            "dmx leaderboard": ("leaderboard", STUDY),
            "dmx leaderboard --json": ("leaderboard", STUDY, "--json"),
            "dmx compare (2 runs)": ("compare", f"{STUDY}-0000", f"{STUDY}-0001"),
            "dmx compare (6 runs)": ("compare", *(f"{STUDY}-{i:04d}" for i in range(6))),
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in range(given.rounds):
            for name, words in commands.items():
                found[name].append(timed(home, *words))
        print(f"{given.runs} runs, {given.rounds} rounds")
        for name, each in found.items():
            print(f"{name:24} {statistics.median(s for s, _ in each):6.2f} s  {max(mb for _, mb in each):7.0f} MB")


if __name__ == "__main__":
    main()
