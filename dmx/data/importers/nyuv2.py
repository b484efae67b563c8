"""NYU Depth V2: 1,449 real photographs of rooms with Kinect depth and labels of 40 classes; no backgrounds.

Expected is the 320x240 form: `image/NNNN.jpg`, `depth/NNNN.png` (8 bit; metres = (raw + 0.5) * 0.0391979),
`label/NNNN.png` (class numbers, 0 unknown) and `split.csv` (the official split: id, train or test).
"""

import csv
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from jaxtyping import UInt8

from dmx.data.declaration import Declaration, DepthDeclaration, MaskDeclaration
from dmx.data.samples import Part, Record
from dmx.data.writing import Progress, Summary, copy, staged, write_picture, write_samples
from dmx.errors import DataError
from dmx.registry import importers

STEP = 0.0391979
"""Metres from one raw value of depth to the next; each stands for the middle of its step."""
STRUCTURE = (1, 2, 8, 9, 11, 13, 16, 19, 20, 22, 28, 30, 38)
"""Wall, floor, door, window, picture, blinds, curtain, mirror, mat, ceiling, shower curtain, whiteboard, structure."""
UNKNOWN = 128


@importers.register("nyuv2", source="Silberman et al. 2012, Indoor segmentation and support inference from RGBD images")
def nyuv2(source: Path, out: Path, progress: Progress | None = None) -> Summary:
    """NYU Depth V2 (320x240, 40 classes, official split) as triplets with metric depth.

    Pictures and depth are copied as they are. The object is every class that is not structure; unlabelled pixels are
    unknown. Frames are numbered in the order of their scenes and the official split does not tear scenes apart, so each
    run of consecutive frames of one part is a group: whole scenes, one or a few.

    Args:
        source: The folder with `image`, `depth`, `label` and `split.csv`.
        out: The folder to make.
        progress: Told how many frames of how many are done.

    Raises:
        DataError: The source is another thing, or a label picture cannot be read, or `out` is there already.
    """
    rows = _official(source)
    records: list[Record] = []
    left_out = 0
    with staged(out) as stage:
        for run, frames in enumerate(_runs(rows)):
            for name, part in frames:
                paths = [source / f"image/{name}.jpg", source / f"depth/{name}.png", source / f"label/{name}.png"]
                if all(path.is_file() for path in paths):
                    records.append(_write(stage, name, f"run{run:03d}", part, *paths))
                else:
                    left_out += 1
                if progress is not None:
                    progress(len(records) + left_out, len(rows))
        if not records:
            raise _wrong(source, "split.csv names no frame that is there")
        write_samples(stage, records)
        _declaration().write(stage)
    reasons = {"without image, depth or label": left_out} if left_out else {}
    return Summary(out, len(records), len({record.group for record in records}), reasons)


def _wrong(source: Path, what: str) -> DataError:
    return DataError(
        f"{source}: is not NYU Depth V2 as expected ({what}); give the folder that holds image/NNNN.jpg, "
        "depth/NNNN.png, label/NNNN.png and split.csv (id,split)."
    )


def _official(source: Path) -> list[tuple[str, Part]]:
    """The frames and their part, in the order of their numbers."""
    path = source / "split.csv"
    if not path.is_file():
        raise _wrong(source, "split.csv is missing")
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if not {"id", "split"} <= set(reader.fieldnames or ()):
            raise _wrong(source, "split.csv lacks the column id or split")
        rows = sorted((row["id"], row["split"]) for row in reader)
    if odd := [part for _, part in rows if part not in ("train", "test")]:
        raise _wrong(source, f"split.csv has the part '{odd[0]}' beside train and test")
    return cast("list[tuple[str, Part]]", rows)


def _runs(rows: Sequence[tuple[str, Part]]) -> list[list[tuple[str, Part]]]:
    """Consecutive frames of one part, together."""
    return [list(frames) for _, frames in groupby(rows, key=lambda row: row[1])]


def _write(stage: Path, name: str, group: str, part: Part, image: Path, depth: Path, label: Path) -> Record:
    copy(image, stage / f"image/{name}.jpg")
    copy(depth, stage / f"depth/{name}.png")
    classes = cv2.imread(str(label), cv2.IMREAD_UNCHANGED)
    if classes is None or classes.ndim != 2:
        raise DataError(f"{label}: is not a grey picture of class numbers; restore it.")
    write_picture(stage / f"mask/{name}.png", mask_of(classes))
    return Record(name, group, part, f"image/{name}.jpg", f"mask/{name}.png", f"depth/{name}.png", None)


def mask_of(classes: UInt8[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W"]:
    """255 where an object is, 0 on structure, `UNKNOWN` where nobody has labelled."""
    mask = np.where(np.isin(classes, STRUCTURE), 0, 255).astype(np.uint8)
    mask[classes == 0] = UNKNOWN
    return mask


def _declaration() -> Declaration:
    return Declaration(
        name="nyuv2",
        depth=DepthDeclaration(kind="metric", scale=STEP, offset=STEP / 2, range=(0.7, 10.0)),
        mask=MaskDeclaration(unknown=UNKNOWN),
        source="NYU Depth V2, labelled frames (Silberman et al. 2012), imported by `dmx data import nyuv2`",
        license="research use; no licence to pass it on is known",
    )
