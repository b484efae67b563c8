"""Quartets per second on one core, from the files to normalised tensors: folder and pack beside a plain loader.

    python benchmarks/loaders.py [--rounds 5] [--samples 400] [--side 224] [--sizes 64 192] [--json]

The plain loader is of the original authors' kind: it opens four JPEG by PIL for each sample, resizes and normalises
each by albumentations and makes tensors. dmx is asked for the same batches of 32: decoded, resized, collated, as
floats, normalised. `augmented` is the standard augmentation of experiments/composed.yaml on the CPU. All run in one
thread of one process, in turn. Goals, against the plain loader: pack 20 times at 64x64 and 8 times at 192x192; pack,
augmented, 3 times; folder 1.5 times.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import torch
from authors_loop import FourJpegs
from jpeg_quartets import write_jpeg_quartets
from timing import as_json, in_turn, table
from torch import Tensor
from torch.utils.data import DataLoader

from dmx.config import load_experiment
from dmx.data.augment.cpu import make_augment
from dmx.data.dataset import QuartetDataset
from dmx.data.layout import read
from dmx.data.loader import Sampling, make_loader
from dmx.data.pack.write import pack
from dmx.models.depthmasknet import depthmasknet
from dmx.models.joint import DepthMaskModel, make_link

BATCH = 32
STANDARD = Path(__file__).parent.parent / "experiments" / "composed.yaml"
Epoch = Callable[[], Iterator[object]]
CPU = torch.device("cpu")


def plain(folder: Path, size: int) -> Epoch:
    """Epochs of the other loader."""
    loader = DataLoader(FourJpegs(folder, size), batch_size=BATCH, shuffle=True)
    return lambda: iter(loader)


def ours(root: Path, size: int, *, augmented: bool) -> Epoch:
    """Epochs of a folder or a pack: everything that happens to pictures before the network's first layer."""
    index = read(root)
    ids = [record.id for record in index.samples if record.split == "train"]
    dataset = QuartetDataset(index, ids, (size, size), memory=False)
    steps = load_experiment(STANDARD).augment.steps
    augment = make_augment([step.bind()() for step in steps], index.depth) if augmented else None
    normalised = DepthMaskModel(depthmasknet(width=4), make_link("identity", index.depth)).normalised

    def epoch() -> Iterator[tuple[Tensor, ...]]:
        for host in make_loader(dataset, Sampling(batch_size=BATCH, seed=0, epoch=0, shuffle=True), augment):
            batch = host.to(CPU, torch.channels_last)  # as training takes them
            assert batch.background is not None
            yield normalised(batch.image), normalised(batch.background), batch.mask, batch.depth

    return epoch


def rate(make: Epoch, samples: int, at_least: float = 1.0) -> float:
    """Samples per second over whole epochs of a second or more."""
    begun, epochs = time.perf_counter(), 0
    while (seconds := time.perf_counter() - begun) < at_least:
        for _ in make():
            pass
        epochs += 1
    return samples * epochs / seconds


def variants(scratch: Path, size: int, samples: int) -> dict[str, Callable[[], float]]:
    """What is run in turn; the first is the reference."""
    data, packs = scratch / "data", {kind: scratch / f"pack-{kind}-{size}" for kind in ("raw", "png")}
    for encoding, folder in packs.items():
        pack(read(data), folder, size=(size, size), encoding=encoding)  # type: ignore[arg-type]
    epochs = {"plain loader": plain(data, size)}
    for name, root in {"folder": data, "pack": packs["raw"], "pack of PNG": packs["png"]}.items():
        epochs[name] = ours(root, size, augmented=False)
        epochs[f"{name}, augmented"] = ours(root, size, augmented=True)
    return {name: partial(rate, epoch, samples) for name, epoch in epochs.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--side", type=int, default=224, help="pixels along each side of the pictures on disk")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 192])
    parser.add_argument("--json", action="store_true", help="print JSON instead of the tables")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        write_jpeg_quartets(scratch / "data", options.samples, options.side)
        for size in options.sizes:
            todo = variants(scratch, size, options.samples)
            for run_once in todo.values():  # not timed: imports, the system's cache of files
                run_once()
            rows = in_turn(todo, options.rounds, lambda line: print(line, file=sys.stderr, flush=True))
            if options.json:
                print(as_json(rows, samples=options.samples, side=options.side, size=size))
            else:
                print(
                    f"{options.samples} quartets of JPEG of {options.side}x{options.side} at {size}x{size}, one thread"
                )
                print(table(rows))


if __name__ == "__main__":
    main()
