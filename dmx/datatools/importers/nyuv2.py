"""NYU Depth V2: 1,449 real photographs of rooms with Kinect depth and labels; no backgrounds.

Two forms: the folder of 320x240 frames (`image/NNNN.jpg`, `depth/NNNN.png` of 8 bit, `label/NNNN.png` of 40 classes,
`split.csv`) and the official file, `nyu_depth_v2_labeled.mat`: HDF5 as written by MATLAB 7.3. MATLAB stores axes in
reverse order: images (N, 3, W, H) of uint8, depths (N, W, H) of float32 in metres (in-painted), labels (N, W, H) of
uint16 with 0 for unlabelled; names (class k is the k-th) and scenes are references to arrays of characters.
`splits.mat`, which the authors publish separately, is in MATLAB 5 format and counts frames from 1.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import Float, UInt16

from dmx.data.declaration import Declaration, DepthDeclaration, MaskDeclaration
from dmx.data.processes import in_threads
from dmx.data.samples import Part, Record
from dmx.data.writing import Progress, Summary, staged, write_picture, write_samples
from dmx.datatools.importers.dataset import Candidate, LeftOut, write_dataset
from dmx.datatools.importers.tree import Folder
from dmx.errors import DataError
from dmx.registry import importers

MAT_FILE = "nyu_depth_v2_labeled.mat"
SPLITS = "splits.mat"
RANGE = (0.7, 10.0)
"""Declared range in metres; in-painted depth lies within the range of the Kinect."""
SOURCE = "NYU Depth V2, labelled frames (Silberman et al. 2012), imported by `dmx data import nyuv2`"
LICENSE = "research use; no licence to pass it on is known"
DATASETS = ("images", "depths", "labels", "names", "scenes")
STRUCTURE_NAMES = frozenset(
    {
        *("wall", "floor", "ceiling", "column", "stairs", "banister", "fireplace", "radiator", "pipe", "air duct"),
        *("door", "door frame", "doorway", "garage door", "window", "window frame", "wall divider", "room divider"),
        *("blinds", "curtain", "curtain rod", "shower curtain", "picture", "mirror", "whiteboard", "blackboard"),
        *("floor mat", "rug", "floor trim", "vent", "air vent", "railing"),
    }
)
"""Names of classes that are part of the room: those that the folder form leaves out too (`STRUCTURE_LABELS`). What
stands for its "floor mat" and "otherstructure" is our choice, as the file has no way from its 894 names to the 40."""


def not_nyuv2(source: Path, what: str) -> DataError:
    """Make the error for a source that is not NYU Depth V2."""
    return DataError(
        f"{source}: is not NYU Depth V2 as expected ({what}); give {MAT_FILE}, or the folder that holds "
        "image/NNNN.jpg, depth/NNNN.png, label/NNNN.png and split.csv (id,split)."
    )


def import_mat(path: Path, out: Path, progress: Progress | None) -> Summary:
    """Write the frames of the official file as PNG: image, label, and depth in millimetres.

    Args:
        path: The file; `splits.mat` may lie beside it.
        out: The folder to make.
        progress: Called with (frames done, frames in total).

    Raises:
        DataError: The file, or `splits.mat`, has other contents, or `out` exists already.
    """
    records: list[Record] = []
    with _open_mat(path) as file, staged(out) as stage:
        with _readable(path):
            names, scenes = _strings(file, "names"), _strings(file, "scenes")
        parts = _parts(path.parent / SPLITS, len(scenes))
        for row, (scene, part) in enumerate(zip(scenes, parts, strict=True)):
            frame = f"{row + 1:04d}"
            files = (f"image/{frame}.png", f"label/{frame}.png", f"depth/{frame}.png")
            records.append(Record(frame, scene, part, *files, None))
        list(in_threads(partial(_write_frame, file, stage), range(len(records)), progress))  # mostly encoding PNG
        write_samples(stage, records)
        objects = (label for label, name in enumerate(names, start=1) if name not in STRUCTURE_NAMES)
        depth = DepthDeclaration(kind="metric", scale=0.001, range=RANGE, unknown=(0,))
        _declaration(depth, objects).write(stage)
    return Summary(out, len(records), len(set(scenes)))


@contextmanager
def _open_mat(path: Path) -> Iterator[Any]:
    """Open the HDF5 file and check that all required arrays exist with matching shapes."""
    import h5py

    try:
        file = h5py.File(path)
    except OSError as error:
        raise not_nyuv2(path, "it is no HDF5 file") from error
    with file:
        if missing := [name for name in DATASETS if not isinstance(file.get(name), h5py.Dataset)]:
            raise not_nyuv2(path, f"it lacks {', '.join(missing)}")
        images, depths, labels = (file[name].shape for name in DATASETS[:3])
        if len(images) != 4 or images[1] != 3 or not depths == labels == (images[0], *images[2:]):
            raise not_nyuv2(
                path, f"images are {images}, depths {depths}, labels {labels}, not (N, 3, W, H), (N, W, H) twice"
            )
        if file["scenes"].size != images[0]:
            raise not_nyuv2(path, f"it has {images[0]} images, but {file['scenes'].size} scenes")
        yield file


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Convert errors while reading; HDF5 raises many types for a damaged file."""
    try:
        yield
    except Exception as error:
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise not_nyuv2(path, f"it is damaged ({cause[:200]})") from error


def _strings(file: Any, name: str) -> list[str]:
    """Read a MATLAB cell array of strings."""
    return ["".join(map(chr, file[reference][()].ravel())) for reference in file[name][()].ravel()]


def _parts(path: Path, frames: int) -> list[Part | None]:
    """Return the official part of each frame; all None without `splits.mat`."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    if not path.is_file():
        return [None] * frames
    try:
        found = loadmat(path, variable_names=["trainNdxs", "testNdxs"])
        train, test = ({int(number) for number in found[name].ravel()} for name in ("trainNdxs", "testNdxs"))
    except (MatReadError, ValueError, KeyError, NotImplementedError) as error:
        raise DataError(
            f"{path}: is not the official split (trainNdxs, testNdxs); put it right or take it away."
        ) from error
    if train & test or train | test != set(range(1, frames + 1)):
        raise DataError(
            f"{path}: does not split the {frames} frames beside it: it puts {len(train)} in train, {len(test)} in test "
            f"and {len(train & test)} in both; put the right file there or take it away."
        )
    return ["train" if number in train else "test" for number in range(1, frames + 1)]


def _write_frame(file: Any, stage: Path, row: int) -> None:
    """Write the pictures of one frame; HDF5 serialises access by threads itself."""
    frame = f"{row + 1:04d}.png"
    with _readable(Path(file.filename)):
        pictures = {
            "image": file["images"][row].transpose(2, 1, 0),
            "label": file["labels"][row].T,
            "depth": _millimetres(file["depths"][row]).T,
        }
    for role, pixels in pictures.items():
        write_picture(stage / role / frame, np.ascontiguousarray(pixels))


def _millimetres(metres: Float[np.ndarray, "W H"]) -> UInt16[np.ndarray, "W H"]:
    """Convert metres to millimetres, 0 where unknown."""
    known = np.nan_to_num(metres.astype(np.float64) * 1000, nan=0, posinf=0, neginf=0)
    return np.rint(known).clip(0, 65535).astype(np.uint16)


def _declaration(depth: DepthDeclaration, objects: Iterable[int]) -> Declaration:
    mask = MaskDeclaration(labels=tuple(objects), unknown=0)
    return Declaration(name="nyuv2", depth=depth, mask=mask, source=SOURCE, license=LICENSE)


STEP = 0.0391979
"""Metres per raw depth step; a raw value represents the middle of its step."""
STRUCTURE_LABELS = (1, 2, 8, 9, 11, 13, 16, 19, 20, 22, 28, 30, 38)
"""Wall, floor, door, window, picture, blinds, curtain, mirror, mat, ceiling, shower curtain, whiteboard, structure."""
OBJECTS = tuple(label for label in range(1, 41) if label not in STRUCTURE_LABELS)


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
    classes are structure goes by their names: see `STRUCTURE_NAMES` in `dmx/datatools/importers/nyuv2.py`.

    Args:
        source: The .mat file, its folder, or the folder with `image`, `depth`, `label` and `split.csv`.
        out: The folder to make.
        progress: Called with how many pictures or frames of how many are done.
        copy: Whether pictures are copied into `out` although they could stay.

    Raises:
        DataError: The source is another thing or holds no whole frame, or `out` is there already.
    """
    if (mat := source / MAT_FILE if source.is_dir() else source).is_file():
        return import_mat(mat, out, progress)
    candidates = list(_candidates(source, _official(source)))
    return write_dataset(
        Folder(source),
        out,
        candidates,
        _declaration(DepthDeclaration(kind="metric", scale=STEP, offset=STEP / 2, range=RANGE), OBJECTS),
        left_out=LeftOut(),
        wrong=partial(not_nyuv2, source),
        progress=progress,
        copy=copy,
    )


def _official(source: Path) -> list[tuple[str, Part]]:
    """Return frames with their part, ordered by number."""
    path = source / "split.csv"
    if not path.is_file():
        raise not_nyuv2(source, "split.csv is missing")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, restval="")
            if not {"id", "split"} <= set(reader.fieldnames or ()):
                raise not_nyuv2(source, "split.csv lacks the column id or split")
            rows = sorted((row["id"], row["split"]) for row in reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise not_nyuv2(source, f"split.csv is no table of comma-separated values in UTF-8: {error}") from error
    if odd := [part for _, part in rows if part not in ("train", "test")]:
        raise not_nyuv2(source, f"split.csv has the part '{odd[0]}' beside train and test")
    return cast("list[tuple[str, Part]]", rows)


def _candidates(source: Path, rows: Sequence[tuple[str, Part]]) -> Iterator[Candidate]:
    """Yield the frames; consecutive frames of one part form a group."""
    folder = Folder(source)
    there = {path.lower(): path for role in ("image", "depth", "label") for path in folder.listing(role)}
    for run, (_, frames) in enumerate(groupby(rows, key=lambda row: row[1])):
        for name, part in frames:
            files = {"image": f"image/{name}.jpg", "mask": f"label/{name}.png", "depth": f"depth/{name}.png"}
            found = {role: there.get(path.lower()) for role, path in files.items()}
            yield Candidate(name, f"run{run:03d}", part, found)
