"""A whole epoch from pictures on disk: dmx beside a loop as the original authors of the problem wrote it, in turn.

    python benchmarks/epoch_from_disk.py [--rounds 5] [--samples 400] [--side 224] [--threads 1] [--json]

Both train the narrow baseline of experiments/quickstart.yaml (DepthMaskNet of width 8 at 64x64, batches of 32) on the
same JPEG quartets. The other loop opens four JPEG by PIL for each sample, resizes and normalises each by albumentations
and calls `.item()` on its metrics in each step. Timed is everything from the listing of the files to the last training
step of the first epoch; imports and validation are apart, nothing is in memory before but the system's own cache of
files. Goal: at least 1.5 times the other loop, with one loader process for each core.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path

import torch
from authors_loop import train_epoch
from jpeg_quartets import write_jpeg_quartets
from timing import as_json, in_turn, table

from dmx.config import load_experiment
from dmx.experiment import RunOptions, Tracking, prepare, run
from dmx.machine import cores
from dmx.outcome import Outcome
from dmx.tracking import Home
from dmx.training.progress import Silent

BASELINE = Path(__file__).parent.parent / "experiments" / "baseline.yaml"
WIDTH, SIZE, BATCH = 8, 64, 32
CORES = cores()


class EpochClock(Silent):
    """Notes when an epoch's last step ended, and when the first epoch was over, validation included."""

    def __init__(self) -> None:
        self.begun = self.last = time.perf_counter()
        self.seconds: list[float] = []

    def step(self, samples: int, loss: float | None) -> None:
        """A step ended."""
        self.last = time.perf_counter()

    def epoch(self, epoch: int, epochs: int, values: Mapping[str, float | None]) -> None:
        """An epoch and its validation ended."""
        self.seconds.append(self.last - self.begun)
        self.begun = time.perf_counter()


def by_dmx(data: Path, home: Home, *, stores: bool, cache: str, epoch: int) -> float:
    """Seconds of the given epoch, counted from 0; the first one has the reading of the pictures."""
    run_id = f"run-{len(list(home.root.glob('runs/*')))}"
    clock = EpochClock()
    overrides = [
        f"data.root={data}",
        f"data.cache={cache}",
        f"model.width={WIDTH}",
        "loss.depth=l1",
        f"stages=[{{epochs: {epoch + 1}, size: {SIZE}, batch_size: {BATCH}}}]",
        "training.device=cpu",
    ]
    prepared = prepare(load_experiment(BASELINE, overrides), home)
    tags = {"dmx.role": "run"}
    result, _ = run(prepared, home, run_id, Tracking("benchmark", tags, stores=stores), RunOptions(progress=clock))
    if result.outcome is not Outcome.COMPLETE:
        raise RuntimeError(f"{run_id}: {result.outcome} {result.reason}")
    return clock.seconds[epoch]


def authors(data: Path, workers: int) -> float:
    """Seconds of one epoch of the other loop."""
    begun = time.perf_counter()
    train_epoch(data, width=WIDTH, size=SIZE, batch_size=BATCH, workers=workers)
    return time.perf_counter() - begun


def variants(scratch: Path, samples: int) -> dict[str, Callable[[], float]]:
    """What is run in turn, each giving samples per second; the first is the reference."""
    data, home, numbers = scratch / "data", Home(scratch / "mlruns"), count()

    def unread() -> Path:
        """The data under a new name: by the old one dmx knows what it has decoded."""
        alias = scratch / f"alias-{next(numbers)}"
        alias.symlink_to(data, target_is_directory=True)
        return alias

    def dmx(*, stores: bool = True, cache: str = "auto", epoch: int = 0) -> float:
        return samples / by_dmx(unread(), home, stores=stores, cache=cache, epoch=epoch)

    return {
        f"authors' kind of loop, {CORES} workers": lambda: samples / authors(data, CORES),
        "authors' kind of loop, no worker": lambda: samples / authors(data, 0),
        "dmx, tracked": dmx,
        "dmx, untracked": lambda: dmx(stores=False),
        f"dmx, untracked, not in memory, {CORES} workers": lambda: dmx(stores=False, cache="none"),
        "dmx, tracked, second epoch": lambda: dmx(epoch=1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--side", type=int, default=224, help="pixels along each side of the pictures on disk")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="1 on a machine that others use")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        write_jpeg_quartets(scratch / "data", options.samples, options.side)
        todo = variants(scratch, options.samples)
        for run_once in todo.values():  # not timed: imports, the start of the stores, the system's cache of files
            run_once()
        rows = in_turn(todo, options.rounds, lambda line: print(line, file=sys.stderr, flush=True))
    if options.json:
        print(as_json(rows, samples=options.samples, side=options.side, threads=torch.get_num_threads()))
        return
    print(f"An epoch of {options.samples} quartets from JPEG of {options.side}x{options.side} on disk")
    print(table(rows))


if __name__ == "__main__":
    main()
