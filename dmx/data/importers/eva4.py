"""Quartets as students of this problem made them (EVA4), in two untidy shapes.

by name:    bg/bg_AAA.*, bgfg_overlay/ol_bgAAAfg*.png, bgfg_mask/mask_<same>.png, bgfg_depth/depth_<same>.jpg
by number:  bg/bg_AAA.*, fg_bg/img_NNNN.jpg, fg_bg_mask/<same>, fg_bg_depth/<same>; the background is NNNN / 10
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cv2

from dmx.data.declaration import Declaration, DepthDeclaration, MaskDeclaration
from dmx.data.samples import Record
from dmx.data.writing import Progress, Summary, copy, staged, write_samples
from dmx.errors import DataError
from dmx.registry import importers

Files = dict[str, Path | None]
"""The picture of each role; None where it is not there."""


@importers.register("eva4", source="The School of AI, EVA4 session 15: background, overlay, mask, depth")
def eva4(source: Path, out: Path, progress: Progress | None = None) -> Summary:
    """Student quartets with relative depth (another network's 8-bit output, near is dark).

    Files are copied as they are; the mask, blurred by compression, is the object where it is above 127. What lacks a
    picture, has one that cannot be read, or has pictures of different sizes is left out and counted; nothing is resized
    to fit, for nobody knows how such a quartet lies. The group of a quartet is its background.

    Args:
        source: The folder with `bg` and either `bgfg_overlay` or `fg_bg`.
        out: The folder to make.
        progress: Told how many quartets of how many are done.

    Raises:
        DataError: The source is another thing, or holds no whole quartet, or `out` is there already.
    """
    found = list(_found(source))
    records: list[Record] = []
    left_out: Counter[str] = Counter()
    with staged(out) as stage:
        for done, (name, files) in enumerate(found, start=1):
            if (reason := _lacking(files)) is not None:
                left_out[reason] += 1
            else:
                records.append(_write(stage, name, {role: path for role, path in files.items() if path is not None}))
            if progress is not None:
                progress(done, len(found))
        if not records:
            raise _wrong(source, "it holds no whole quartet: " + ", ".join(f"{n} {why}" for why, n in left_out.items()))
        write_samples(stage, records)
        _declaration().write(stage)
    return Summary(out, len(records), len({record.group for record in records}), dict(left_out))


def _wrong(source: Path, what: str) -> DataError:
    return DataError(
        f"{source}: is not a set of EVA4 quartets as expected ({what}); give the folder that holds bg/ and either "
        "bgfg_overlay/, bgfg_mask/, bgfg_depth/ or fg_bg/, fg_bg_mask/, fg_bg_depth/."
    )


def _found(source: Path) -> Iterator[tuple[str, Files]]:
    """The name and the files of each candidate, in the order of their names."""
    shapes = {"bgfg_overlay": _by_name, "fg_bg": _by_number}
    shape = next((name for name in shapes if (source / name).is_dir()), None)
    if shape is None or not (source / "bg").is_dir():
        raise _wrong(source, "a folder is missing")
    backgrounds = {path.stem: path for path in sorted((source / "bg").iterdir())}
    for path in sorted((source / shape).iterdir()):
        yield path.stem, shapes[shape](source, path, backgrounds)


def _by_name(source: Path, image: Path, backgrounds: dict[str, Path]) -> Files:
    match = re.match(r"ol_bg(\d{3})fg", image.stem)
    return {
        "image": image if match else None,
        "mask": _there(source / "bgfg_mask" / f"mask_{image.stem}.png"),
        "depth": _there(source / "bgfg_depth" / f"depth_{image.stem}.jpg"),
        "background": backgrounds.get(f"bg_{match[1]}") if match else None,
    }


def _by_number(source: Path, image: Path, backgrounds: dict[str, Path]) -> Files:
    match = re.fullmatch(
        r"img_(\d{3})0", image.stem
    )  # the last digit is 0 in all that is known; others are not guessed
    return {
        "image": image if image.stem.startswith("img_") else None,
        "mask": _there(source / "fg_bg_mask" / image.name),
        "depth": _there(source / "fg_bg_depth" / image.name),
        "background": backgrounds.get(f"bg_{match[1]}") if match else None,
    }


def _there(path: Path) -> Path | None:
    return path if path.is_file() else None


def _lacking(files: Files) -> str | None:
    """Why a candidate is no whole quartet, if it is none."""
    for role, path in files.items():
        if path is None:
            return "not named as a quartet" if role == "image" else f"without {role}"
    pictures = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in files.values()]
    if any(picture is None for picture in pictures):
        return "with a picture that cannot be read"
    return (
        "with pictures of different sizes" if len({one.shape[:2] for one in pictures if one is not None}) > 1 else None
    )


def _write(stage: Path, name: str, files: dict[str, Path]) -> Record:
    group = files["background"].stem
    paths = {role: f"{role}/{group if role == 'background' else name}{path.suffix}" for role, path in files.items()}
    for role, path in files.items():
        if not (stage / paths[role]).exists():  # a background that others share
            copy(path, stage / paths[role])
    return Record(name, group, None, paths["image"], paths["mask"], paths["depth"], paths["background"])


def _declaration() -> Declaration:
    return Declaration(
        name="eva4",
        depth=DepthDeclaration(kind="relative", scale=1 / 255, range=(0.0, 1.0), near="low"),
        mask=MaskDeclaration(threshold=127),
        source="EVA4 student quartets, imported by `dmx data import eva4`; depth is another network's output",
        license="pictures from a web image search; no licence to pass them on is known",
    )
