"""Training while the tracking server dies: the time of a run beside that of one without MLflow and TensorBoard.

    python benchmarks/outage.py [--rounds 3] [--seconds 90]

DepthMaskNet of width 16 on made rooms of 64x64, one thread, a validation after each epoch, for about so many seconds.
Every run trains in this process; a real `mlflow server` is well, is killed ten seconds after the start and comes back
after 60 s, or is killed and stays away. Shown are seconds from the first training step to the end of the last
validation, and their ratio to the run of the same round that has no store, as median and range. The goal is 1.02 at
most; where the ranges are wider than that, they decide nothing.
"""

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from helpers.serving import TrackingServer

from dmx.config import parse_experiment
from dmx.datatools.synth import synth
from dmx.experiment import RunOptions, Tracking, prepare, run
from dmx.tracking import Home
from dmx.training.progress import Silent

KILLED_AT, AWAY = 10.0, 60.0
SAMPLES, BATCH = 200, 8


class Clock(Silent):
    """From the first step to the end of the last epoch."""

    def __init__(self) -> None:
        self.begun = self.ended = 0.0

    def start(self, done: int, total: int) -> None:
        """Training begins."""
        self.begun = time.perf_counter()

    def epoch(self, epoch: int, epochs: int, values: Mapping[str, float | None]) -> None:
        """An epoch and its validation ended."""
        self.ended = time.perf_counter()


def trained(data: Path, home: Home, epochs: int, *, stores: bool) -> float:
    """Seconds of one run."""
    clock = Clock()
    config = parse_experiment(
        {
            "name": "outage",
            "data": {"root": str(data), "split": {"val": 0.2, "test": 0.0}},
            "model": {"name": "depthmasknet", "width": 16},
            "loss": {"mask": "bce_dice", "depth": "silog"},
            "optimizer": {"name": "adamw", "lr": 1e-3},
            "stages": [{"epochs": epochs, "size": 64, "batch_size": BATCH}],
            "training": {"device": "cpu", "log_every": 1},
        },
        "outage",
    )
    name = f"run-{len(list(home.root.glob('runs/*')))}"
    tags = {"dmx.role": "run"}
    run(prepare(config, home), home, name, Tracking("outage", tags, stores=stores), RunOptions(progress=clock))
    return clock.ended - clock.begun


def disturb(server: TrackingServer, what: str) -> None:
    """What happens to the server while a run trains."""
    if what == "well":
        return
    time.sleep(KILLED_AT)
    server.kill()
    if what == "back after 60 s":
        time.sleep(AWAY)
        server.start()


def measure(scratch: Path, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Seconds by variant, a round after the other."""
    synth(scratch / "data", count=SAMPLES, size=64, seed=0, workers=1)
    home, server = Home(scratch / "mlruns"), TrackingServer(scratch)
    os.environ["MLFLOW_TRACKING_URI"] = server.address
    trained(scratch / "data", home, 1, stores=False)  # kernels are chosen, samples decoded
    epochs = round(5 * seconds / trained(scratch / "data", home, 5, stores=False))
    found: dict[str, list[float]] = {name: [] for name in ("no stores", "well", "back after 60 s", "never back")}
    for number in range(1, rounds + 1):
        for what, times in found.items():
            if what == "no stores":
                times.append(trained(scratch / "data", home, epochs, stores=False))
            else:
                if not server.answers():
                    server.start()
                thread = threading.Thread(target=disturb, args=(server, what))
                thread.start()
                times.append(trained(scratch / "data", home, epochs, stores=True))
                thread.join()
            print(f"round {number}/{rounds}: {what}: {times[-1]:.1f} s", file=sys.stderr, flush=True)
    server.kill()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=90.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        found = measure(Path(scratch), options.rounds, options.seconds)
    for what, times in found.items():
        ratios = [one / base for one, base in zip(times, found["no stores"], strict=True)]
        print(
            f"{what:16} {statistics.median(times):6.1f} s   ratio {statistics.median(ratios):.3f} "
            f"({min(ratios):.3f} .. {max(ratios):.3f})"
        )


if __name__ == "__main__":
    main()
