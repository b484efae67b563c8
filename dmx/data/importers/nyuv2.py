"""NYU Depth V2: 1,449 real photographs of rooms with Kinect depth and labels; no backgrounds.

Two forms: the folder of 320x240 frames (`image/NNNN.jpg`, `depth/NNNN.png` of 8 bit, `label/NNNN.png` of 40 classes,
`split.csv`), which is read here, and the official `nyu_depth_v2_labeled.mat`, which `nyuv2_mat` reads.
"""

import csv
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import cast

from dmx.data.declaration import Declaration, DepthDeclaration, MaskDeclaration
from dmx.data.importers.bring import Candidate, LeftOut, bring
from dmx.data.importers.nyuv2_mat import FILE, LICENSE, RANGE, SOURCE, import_mat, wrong
from dmx.data.importers.tree import Folder
from dmx.data.samples import Part
from dmx.data.writing import Progress, Summary
from dmx.registry import importers

STEP = 0.0391979
"""Metres from one raw value of depth to the next; each stands for the middle of its step."""
STRUCTURE = (1, 2, 8, 9, 11, 13, 16, 19, 20, 22, 28, 30, 38)
"""Wall, floor, door, window, picture, blinds, curtain, mirror, mat, ceiling, shower curtain, whiteboard, structure."""
OBJECTS = tuple(label for label in range(1, 41) if label not in STRUCTURE)


@importers.register("nyuv2", source="Silberman et al. 2012, Indoor segmentation and support inference from RGBD images")
def nyuv2(source: Path, out: Path, progress: Progress | None = None, copy: bool = False) -> Summary:
    """NYU Depth V2, official or as 320x240 frames, as triplets with metric depth.

    The object is every class that is not structure of the room; unlabelled pixels are unknown.

    Of the folder of 320x240 frames (depth_m = (raw + 0.5) * 0.0391979, 40 classes) the files stay where they are unless
    they are to be copied. Frames are numbered in the order of their scenes and the official split does not tear scenes
    apart, so each run of consecutive frames of one part is a group: whole scenes, one or a few.

    Of the official `nyu_depth_v2_labeled.mat` (HDF5; 640x480, 894 classes) the frames are written as PNG, depth in
    millimetres: as they are, with the white frame of some ten pixels around the photographs. Groups are its scenes. The
    official split is read from `splits.mat` where that lies beside it; without it there is none. Which of the 894
    classes are structure goes by their names: see `STRUCTURE` in `dmx/data/importers/nyuv2_mat.py`.

    Args:
        source: The .mat file, its folder, or the folder with `image`, `depth`, `label` and `split.csv`.
        out: The folder to make.
        progress: Told how many pictures or frames of how many are done.
        copy: Whether pictures are copied into `out` although they could stay.

    Raises:
        DataError: The source is another thing or holds no whole frame, or `out` is there already.
    """
    if (mat := source / FILE if source.is_dir() else source).is_file():
        return import_mat(mat, out, progress)
    candidates = list(_candidates(source, _official(source)))
    return bring(
        Folder(source),
        out,
        candidates,
        _declaration(),
        left_out=LeftOut(),
        wrong=partial(wrong, source),
        progress=progress,
        copy=copy,
    )


def _official(source: Path) -> list[tuple[str, Part]]:
    """The frames and their part, in the order of their numbers."""
    path = source / "split.csv"
    if not path.is_file():
        raise wrong(source, "split.csv is missing")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, restval="")
            if not {"id", "split"} <= set(reader.fieldnames or ()):
                raise wrong(source, "split.csv lacks the column id or split")
            rows = sorted((row["id"], row["split"]) for row in reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise wrong(source, f"split.csv is no table of comma-separated values in UTF-8: {error}") from error
    if odd := [part for _, part in rows if part not in ("train", "test")]:
        raise wrong(source, f"split.csv has the part '{odd[0]}' beside train and test")
    return cast("list[tuple[str, Part]]", rows)


def _candidates(source: Path, rows: Sequence[tuple[str, Part]]) -> Iterator[Candidate]:
    """The frames, consecutive ones of one part in one group."""
    folder = Folder(source)
    there = {path.lower(): path for role in ("image", "depth", "label") for path in folder.listing(role)}
    for run, (_, frames) in enumerate(groupby(rows, key=lambda row: row[1])):
        for name, part in frames:
            files = {"image": f"image/{name}.jpg", "mask": f"label/{name}.png", "depth": f"depth/{name}.png"}
            found = {role: there.get(path.lower()) for role, path in files.items()}
            yield Candidate(name, f"run{run:03d}", part, found)


def _declaration() -> Declaration:
    return Declaration(
        name="nyuv2",
        depth=DepthDeclaration(kind="metric", scale=STEP, offset=STEP / 2, range=RANGE),
        mask=MaskDeclaration(labels=OBJECTS, unknown=0),
        source=SOURCE,
        license=LICENSE,
    )
