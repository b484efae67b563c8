"""Compare an exported file with the run's own predictions, on real pictures, in a process of its own."""

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dmx.deliver.exported import ExportedNetwork, Maps, Pictures, at_own_size
from dmx.errors import UserError, last_line

SECONDS = 600.0
"""Most that loading a file and predicting a few pictures may take."""
TOLERANCE: Mapping[str, float] = {"float32": 1e-3, "float16": 2e-2}
"""Greatest difference, relative to max(1, value). In float32 sums are only added up in another order. In float16 a
number has 11 bits, 5e-4 of its value, and errors add up over some fifty layers. int8 has none: its metrics are
measured."""


@dataclass(frozen=True)
class Sample:
    """Pictures to compare on.

    Attributes:
        images: The pictures.
        backgrounds: The scenes without the object, if the network takes them.
        what: Which pictures they are.
    """

    images: Pictures
    backgrounds: Pictures | None
    what: str


def compared(path: Path, size: tuple[int, int], sample: Sample, expected: list[Maps]) -> dict[str, Any]:
    """The differences of a file's predictions from `expected`, as `Facts.difference` has them.

    Raises:
        UserError: The file cannot be loaded or run, or gives numbers that are not finite.
    """
    found = in_a_process(path, size, sample)
    apart: dict[str, Any] = {"pictures": len(expected), "what": sample.what}
    for i, name in enumerate(("mask", "depth")):
        each = [relative(one[i], own[i]) for one, own in zip(found, expected, strict=True)]
        whole = np.concatenate([one.ravel() for one in each])
        if not np.isfinite(whole).all():
            raise UserError(f"{path}: its {name} has numbers that are not finite; export in float32.")
        apart[name] = {"greatest": float(whole.max()), "mean": float(whole.mean())}
    return apart


def relative(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """The absolute difference, relative to max(1, abs(expected))."""
    apart: np.ndarray = np.abs(found.astype(np.float64) - expected) / np.maximum(1, np.abs(expected))
    return apart


def in_a_process(path: Path, size: tuple[int, int], sample: Sample) -> list[Maps]:
    """Predict in a new process, as a program that has the file alone would.

    Raises:
        UserError: The process fails, or takes too long.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "pictures.npz", Path(folder) / "maps.npz"
        pictures: dict[str, Any] = {f"image{i}": one for i, one in enumerate(sample.images)}
        pictures |= {f"background{i}": one for i, one in enumerate(sample.backgrounds or ())}
        np.savez(given, **pictures, size=np.array(size))
        command = [sys.executable, "-P", "-m", __name__, str(path), str(given), str(made)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            raise UserError(f"{path}: was not loaded and run within {SECONDS:.0f} s; nothing was exported.") from error
        if done.returncode:
            raise UserError(f"{path}: cannot be loaded and run ({last_line(done.stderr)}); nothing was exported.")
        with np.load(made) as maps:
            return [(maps[f"mask{i}"], maps[f"depth{i}"]) for i in range(len(sample.images))]


def predicted(path: Path, size: tuple[int, int], images: Pictures, backgrounds: Pictures | None) -> list[Maps]:
    """The predictions of a file, one picture at a time."""
    behind = [None] * len(images) if backgrounds is None else [[one] for one in backgrounds]
    if path.suffix == ".onnx":
        network = ExportedNetwork(path)
        network.size = size
        return [network([image], behind[i])[0] for i, image in enumerate(images)]
    from dmx.deliver.export.graph import of_archive

    run = of_archive(path)
    return [at_own_size(run, size, [image], behind[i])[0] for i, image in enumerate(images)]


def main(path: str, given: str, made: str) -> None:
    """Predict the pictures in the file `given`, and write the maps to `made`."""
    with np.load(given) as pictures:
        count = sum(name.startswith("image") for name in pictures)
        images = [pictures[f"image{i}"] for i in range(count)]
        backgrounds = [pictures[f"background{i}"] for i in range(count)] if "background0" in pictures else None
        height, width = pictures["size"].tolist()
    maps = predicted(Path(path), (height, width), images, backgrounds)
    planes: dict[str, Any] = {f"mask{i}": mask for i, (mask, _) in enumerate(maps)}
    planes |= {f"depth{i}": depth for i, (_, depth) in enumerate(maps)}
    np.savez(made, **planes)


if __name__ == "__main__":
    main(*sys.argv[1:])
