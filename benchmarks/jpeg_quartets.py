"""Quartets on disk as the original authors had them: four JPEG each, relative depth, backgrounds that many share."""

import tempfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from dmx.data.declaration import Declaration, DepthDeclaration, MaskDeclaration
from dmx.data.layout import read
from dmx.data.samples import Record
from dmx.data.writing import write_samples
from dmx.datatools.synth import synth

RENDERED = 64
PER_ROOM = 40
NOISE = 6.0  # grey levels; with it a picture of 224x224 takes some 20 kB, as theirs did


def write_jpeg_quartets(folder: Path, samples: int, side: int) -> None:
    """Write `samples` training quartets and one room for validation.

    They are rendered small and enlarged, for decoding costs by the pixel and not by what is seen.

    Args:
        folder: The data set to make.
        samples: How many to train on, a multiple of 40.
        side: Pixels along each side.
    """
    if samples % PER_ROOM:
        raise SystemExit(f"--samples must be a multiple of {PER_ROOM}, but got {samples}.")
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "synth"
        synth(source, count=samples + PER_ROOM, size=RENDERED, seed=0, kind="relative", per_room=PER_ROOM)
        records = []
        for number, record in enumerate(read(source).samples):
            paths = {role: str(Path(path).with_suffix(".jpg")) for role, path in record.paths().items()}
            for role, path in record.paths().items():
                if not (folder / paths[role]).exists():  # a background that others share
                    enlarge(source / path, folder / paths[role], side, rng)
            records.append(replace(record, split="train" if number < samples else "val", **paths))
    write_samples(folder, records)
    depth = DepthDeclaration(kind="relative", scale=1 / 255, range=(0.0, 1.0))
    Declaration(name=f"jpeg-{side}", depth=depth, mask=MaskDeclaration(threshold=127)).write(folder)


def enlarge(source: Path, target: Path, side: int, rng: np.random.Generator) -> None:
    """One picture as JPEG; those in colour get noise."""
    picture = cv2.imread(str(source), cv2.IMREAD_UNCHANGED)
    assert picture is not None
    picture = cv2.resize(picture, (side, side), interpolation=cv2.INTER_CUBIC)
    if picture.ndim == 3:
        noisy = picture + rng.normal(0, NOISE, picture.shape)
        picture = noisy.clip(0, 255).astype(np.uint8)
    elif picture.max() == 1:
        picture = picture * 255
    target.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(target), picture, [cv2.IMWRITE_JPEG_QUALITY, 85])


def training_records(folder: Path) -> list[Record]:
    """The training samples of such a data set."""
    return [record for record in read(folder).samples if record.split == "train"]
