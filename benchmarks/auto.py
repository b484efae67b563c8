"""What `auto` chooses on this CPU, beside each setting tried by hand and a bare loop; idle, and beside a busy process.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/auto.py [--rounds 3] [--batch 8] [--threads 2]

All train the baseline as benchmarks/training.py does, untracked; the bare loop has float32 and torch's own format, in a
process of its own, where the C library returns freed memory to the kernel as it does by default. `dmx` has it kept on a
CPU; the bare loop is measured so, too. The command `dmx` sets OMP_WAIT_POLICY likewise.
Goals: `auto` is never below 0.97 of the best by hand, and 1.6 times the bare loop where the processor has bfloat16, 1.3
elsewhere.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import torch
from timing import Row, in_turn, table
from training import PER_ROOM, SIZE, STEPS, bare, by_dmx, experiment, training_data

from dmx.datatools.synth import synth
from dmx.experiment import prepare
from dmx.machine import keeping_freed_memory
from dmx.quartet import Batch, DepthSpec
from dmx.tracking import Home
from dmx.training.autotune import native_bfloat16, title

AUTO, BARE, KEPT = "auto", "bare loop", "bare loop, freed memory kept"
BUSY = "while True: pass"


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Other processes compute meanwhile."""
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(processes)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def bare_apart(data: Batch, depth: DepthSpec, batch: int, *, kept: bool) -> float:
    """The rate of the bare loop in a process of its own, as what the C library keeps is set for a whole process."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(bare_rate, data, depth, batch, torch.get_num_threads(), kept).result()


def bare_rate(data: Batch, depth: DepthSpec, batch: int, threads: int, kept: bool) -> float:
    """Samples per second of the bare loop, in this process."""
    torch.set_num_threads(threads)
    with keeping_freed_memory() if kept else nullcontext():
        return bare(data, depth, batch).rate


def variants(scratch: Path, batch: int) -> dict[str, Callable[[], float]]:
    """Train as each variant, and return its samples per second; what `auto` measures is not timed."""
    home = Home(scratch / "mlruns")
    precisions = ("float32", "bfloat16") if native_bfloat16() else ("float32",)
    settings = {
        f"{precision}, {'channels last' if last == 'true' else 'contiguous'}": (
            f"precision={precision}",
            f"channels_last={last}",
            "compile=false",
        )
        for precision, last in product(precisions, ("true", "false"))
    }
    configs = {
        name: experiment(scratch / "data", batch, each) for name, each in {**settings, AUTO: ("compile=false",)}.items()
    }
    data, depth = training_data(configs[AUTO], home)
    found: dict[str, Callable[[], float]] = {
        name: partial(bare_apart, data, depth, batch, kept=name == KEPT) for name in (BARE, KEPT)
    }
    for name, config in configs.items():
        found[name] = partial(lambda config: by_dmx(config, home, stores=False).rate, config)
    chosen = prepare(configs[AUTO], home).device_config
    print(f"auto takes {title(chosen)} of {chosen.measured}")
    return found


def against_best(rows: Sequence[Row]) -> str:
    """The ratio of `auto` to the best of the settings tried by hand, within rounds as those to the bare loop."""
    auto = next(row for row in rows if row.variant == AUTO)
    best = max(
        (row for row in rows if row.variant not in (AUTO, BARE, KEPT)), key=lambda row: statistics.median(row.rates)
    )
    ratios = [one / other for one, other in zip(auto.rates, best.rates, strict=True)]
    return (
        f"auto is {statistics.median(ratios):.3f} ({min(ratios):.3f} .. {max(ratios):.3f}) of the best by hand, "
        f"{best.variant}, and {auto.ratio:.3f} of the bare loop"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sys.modules["dmx.experiment.prepare"].MEASURE_FROM_FLOPS = 0  # type: ignore[attr-defined] # these runs are short
    for others in (0, 1):
        with tempfile.TemporaryDirectory() as scratch, busy(others):
            count = STEPS * options.batch + PER_ROOM
            synth(Path(scratch) / "data", count=count, size=SIZE, seed=0, per_room=PER_ROOM, workers=1)
            print(f"\n{options.threads} threads, {others} busy processes beside")
            made = variants(Path(scratch), options.batch)
            rows = in_turn(made, options.rounds, lambda line: print(line, file=sys.stderr, flush=True))
            print(table(rows))
            print(against_best(rows), flush=True)


if __name__ == "__main__":
    main()
