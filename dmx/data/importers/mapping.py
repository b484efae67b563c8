"""Any folder of pictures, by way of a small YAML file that says which belong together (see `mapping_file`)."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import cast

from dmx.data.declaration import Declaration
from dmx.data.folders import composed
from dmx.data.importers.bring import Candidate, LeftOut, bring
from dmx.data.importers.manifest import read_manifest
from dmx.data.importers.mapping_file import Mapping, read_mapping
from dmx.data.importers.patterns import matched
from dmx.data.importers.tree import Folder
from dmx.data.samples import Part
from dmx.data.writing import Progress, Summary
from dmx.errors import ConfigError, DataError, Problem
from dmx.registry import importers
from dmx.written import not_filled_in, place

Row = dict[str, str | None]
"""What is known of one sample: its `id`, its path in each role and, from a manifest, `group` and `split`."""


@importers.register("mapping", source="none: any folder, as a YAML file maps it")
def mapping(source: Path, out: Path, progress: Progress | None = None, copy: bool = False) -> Summary:
    """Any folder of triplets or quartets, as a small YAML file maps it.

    The file gives a pattern of paths per role, whose stars stand for the sample's name:

        name: office
        folder: /data/office              # where the paths begin; left out: the folder of this file
        files:                            # a star stands for a part of the name, two stars for several folders
          image: "*/rgb/*.jpg"
          mask: "*/segments/*.png"
          depth: "*/depth/*.png"
          background: "*/empty.jpg"       # fewer stars: shared by all whose names begin alike
        group: (scene_[0-9]+)             # a regular expression on the name; or `folder` of the image; or `id`
        depth: {kind: metric, scale: 0.001, range: [0.3, 12.0], unknown: [0]}
        mask: {labels: [5, 6], unknown: 0}

    or, instead of `files`, a table of paths, CSV or Parquet, where `id`, `group` and `split` may stand too:

        manifest: list.parquet
        columns: {id: frame, image: rgb, mask: segments, depth: depth, group: scene, split: part}

    `depth` and `mask` are those of dataset.yaml: depth of 8 or 16 bits, EXR or NPY with `scale` and `offset`, disparity
    by `form: inverse`, the turned bits of SUN RGB-D by `rotated: 3`; masks of two values, above a `threshold`, of class
    `labels`, or of opacity (`alpha: true`); so is `exif`: `upright` turns each picture as its EXIF says. Where several
    stars make the name they are joined by `/`.

    Files stay where they are unless they are to be copied. What matches no pattern, lacks a partner, cannot be read,
    differs in size or has no group (as the expression does not match) is left out and named.

    Args:
        source: The YAML file.
        out: The folder to make.
        progress: Told how many pictures of how many are done.
        copy: Whether pictures are copied into `out` although they could stay.

    Raises:
        ConfigError: The mapping is wrong: every problem at once.
        DataError: The manifest cannot be read, a path leaves the folder, nothing is whole, or
            `out` is there already.
    """
    given = read_mapping(source)
    root = source.parent / place(given.folder)
    if not root.is_dir():
        raise ConfigError(
            str(source), [Problem("folder", f"no such folder {root}{not_filled_in(root)}; mend the path")]
        )
    folder = Folder(root)
    left_out = LeftOut()
    if given.manifest is None:
        rows = _by_patterns(given, folder, left_out, source)
    else:
        assert given.columns is not None  # read_mapping looked
        rows = read_manifest(source.parent / place(given.manifest), given.columns, source, root)
    return bring(
        folder,
        out,
        list(_candidates(given, rows, left_out)),
        Declaration(**{name: getattr(given, name) for name in ("name", "depth", "mask", "exif", "source", "license")}),
        left_out=left_out,
        wrong=partial(_wrong, source, folder.root),
        progress=progress,
        copy=copy,
    )


def _wrong(source: Path, folder: Path, what: str) -> DataError:
    return DataError(f"{source}: maps nothing in {folder} ({what}); mend `folder` and `files` or `columns`.")


def _by_patterns(given: Mapping, folder: Folder, left_out: LeftOut, source: Path) -> Iterator[Row]:
    """The samples that the patterns find; the mapping itself may lie among the pictures."""
    paths = (path for path in folder.walk() if folder.root / path != source)
    for key, files in matched(given.roles(), paths, left_out):
        yield {"id": "/".join(key), **files}


def _candidates(given: Mapping, rows: Iterator[Row], left_out: LeftOut) -> Iterator[Candidate]:
    for row in rows:
        files = {role: row[role] for role in given.roles()}
        name = row["id"] or ""
        group = _group(given, name, files, row.get("group"))
        candidate = Candidate(name, group or "", cast("Part | None", row.get("split")), files)
        if group or None in files.values():  # which is said of it first
            yield candidate
        else:
            left_out.add("without a group", candidate.shown)


def _group(given: Mapping, name: str, files: Row, column: str | None) -> str | None:
    """What must not be split; None where the mapping does not say."""
    if given.columns is not None and given.columns.group is not None:
        return column
    if given.group is None:
        return files["background"]
    if given.group == "id":
        return name
    if given.group == "folder":
        return str(PurePosixPath(files["image"] or "").parent)
    match = re.search(composed(given.group), composed(name))
    return match[1] if match else None
