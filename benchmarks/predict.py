"""Frames per second of `dmx predict`, against a plain loop over the same network.

    python benchmarks/predict.py [--photographs 64] [--photograph 1080x1920] [--size 96x128] [--batch 2] [--rounds 5]

The plain loop decodes a JPEG, resizes it, predicts it alone, and writes mask, depth and view as PNG and NPY, one after
the other, with as many threads of torch as there are cores. `dmx predict` writes the same files; it reads, predicts and
writes several pictures at once, each in a thread of its own. The variants run in turn; ratios are taken within a round.
The network is trained for one epoch on a few rendered rooms, since its speed does not depend on its weights. The goal
is a ratio of 1.5 on two cores.
"""

import argparse
import tempfile
import time
from datetime import datetime
from itertools import count
from pathlib import Path

import cv2
import numpy as np
from timing import in_turn, table

from dmx.cli.data.pack import height_width
from dmx.config import parse_experiment
from dmx.data.decoding import colour
from dmx.data.writing import write_picture
from dmx.datatools.synth import synth
from dmx.deliver.outputs import view
from dmx.deliver.predict import Options, Prediction, predict
from dmx.deliver.predictor import Predictor
from dmx.deliver.sources import sources
from dmx.experiment import Tracking, prepare, run
from dmx.experiment.trained import trained
from dmx.tracking import Home

RUN = "network"


def make_run(home: Home, data: Path, model: str, size: tuple[int, int]) -> None:
    synth(data, count=24, size=32, seed=0, workers=1)
    config = {
        "name": RUN,
        "data": {"root": str(data), "split": {"val": 0.25, "test": 0.25}},
        "model": {"name": model, "inputs": "image"},
        "loss": {"mask": "bce_dice", "depth": "silog"},
        "optimizer": "adamw",
        "stages": [{"epochs": 1, "size": [*size], "batch_size": 4}],
    }
    run(prepare(parse_experiment(config, RUN), home), home, RUN, Tracking(RUN, {}, stores=False))


def make_photographs(folder: Path, number: int, size: tuple[int, int]) -> None:
    """Smooth noise, which compresses about as a photograph does."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in range(number):
        small = rng.integers(0, 256, (size[0] // 8, size[1] // 8, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{name:04d}.jpg"), cv2.resize(small, size[::-1], interpolation=cv2.INTER_CUBIC))


def plain(home: Home, photographs: Path, out: Path) -> float:
    """Photographs per second of one after the other."""
    network = trained(home, RUN)
    predictor = Predictor(network.model, network.size)
    (out / "depth").mkdir(parents=True)
    paths = sorted(photographs.iterdir())
    begun = time.perf_counter()
    for path in paths:
        image = colour(path, upright=True)
        mask, depth = predictor([image], None)[0]
        write_picture(out / "mask" / f"{path.stem}.png", (mask * 255).round().astype(np.uint8))
        np.save(out / "depth" / f"{path.stem}.npy", depth)
        write_picture(out / "view" / f"{path.stem}.png", view(image, mask, depth, network.spec))
    return len(paths) / (time.perf_counter() - begun)


def ours(home: Home, photographs: Path, out: Path, batch: int | None) -> float:
    """Photographs per second of `dmx predict`."""
    made = Prediction(home, [RUN], Options(), batch)
    found, _ = sources([photographs], None)
    begun = time.perf_counter()
    _, entries = predict(made, found, None, out, lambda done, total: None)
    return len(entries) / (time.perf_counter() - begun)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=int, default=64)
    parser.add_argument("--photograph", default="1080x1920")
    parser.add_argument("--size", default="96x128")
    parser.add_argument("--model", default="depthmasknet")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root, numbers = Path(folder), count()
        home, photographs = Home(root / "home"), root / "photographs"
        make_run(home, root / "data", options.model, height_width(options.size))
        make_photographs(photographs, options.photographs, height_width(options.photograph))

        def out() -> Path:
            return root / f"out{next(numbers)}"

        plain(home, photographs, out())  # both take files and kernels into memory first
        rows = in_turn(
            {
                "plain loop": lambda: plain(home, photographs, out()),
                "dmx predict": lambda: ours(home, photographs, out(), options.batch),
            },
            options.rounds,
            lambda said: print(said, flush=True),
        )
        print(f"{datetime.now():%Y-%m-%d}: {options.model} at {options.size}, photographs of {options.photograph}")
        print(table(rows))


if __name__ == "__main__":
    main()
