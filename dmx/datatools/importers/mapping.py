"""Import any folder of pictures, as described by a small YAML file (see `mapping_file`).

Pictures are matched to samples by path patterns or by a table of paths, CSV or Parquet (a manifest).
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import cast

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from dmx.data.declaration import Declaration
from dmx.data.folders import composed
from dmx.data.listing import LEAVES
from dmx.data.samples import ROLES, Part
from dmx.data.table import ERRORS, read_cells, read_columns, refuse_other_signs
from dmx.data.writing import Progress, Summary
from dmx.datatools.importers.dataset import Candidate, LeftOut, write_dataset
from dmx.datatools.importers.mapping_file import Columns, MappingFile, match_paths, read_mapping
from dmx.datatools.importers.tree import Folder
from dmx.errors import ConfigError, DataError, Problem, did_you_mean
from dmx.registry import importers
from dmx.written import not_filled_in, place

Row = dict[str, str | None]
"""One sample: its `id`, its path in each role and, from a manifest, `group` and `split`."""


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
        progress: Called with how many pictures of how many are done.
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
        assert given.columns is not None  # checked by read_mapping
        rows = read_manifest(source.parent / place(given.manifest), given.columns, source, root)
    return write_dataset(
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


def _by_patterns(given: MappingFile, folder: Folder, left_out: LeftOut, source: Path) -> Iterator[Row]:
    """Yield the samples that the patterns find; the mapping file itself may be in the folder."""
    paths = (path for path in folder.walk() if folder.root / path != source)
    for key, files in match_paths(given.roles(), paths, left_out):
        yield {"id": "/".join(key), **files}


def _candidates(given: MappingFile, rows: Iterator[Row], left_out: LeftOut) -> Iterator[Candidate]:
    for row in rows:
        files = {role: row[role] for role in given.roles()}
        name = row["id"] or ""
        group = _group(given, name, files, row.get("group"))
        candidate = Candidate(name, group or "", cast("Part | None", row.get("split")), files)
        if group or None in files.values():  # missing pictures are reported first
            yield candidate
        else:
            left_out.add("without a group", candidate.shown)


def _group(given: MappingFile, name: str, files: Row, column: str | None) -> str | None:
    """Return the group of a sample; None if the mapping does not determine it."""
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


PARTS = ("train", "val", "test")


def read_manifest(path: Path, columns: Columns, source: Path, folder: Path) -> Iterator[dict[str, str | None]]:
    """Yield the rows of a manifest, keyed by `id`, role, `group` and `split`; empty cells are None.

    Args:
        path: The table.
        columns: The columns to read.
        source: The mapping that names them, for messages.
        folder: The folder to which paths are relative.

    Raises:
        ConfigError: Columns are missing from the table; all are reported.
        DataError: The table cannot be read, a path leaves the folder, or a split is not one of the parts.
    """
    named = {what: column for what, column in columns.model_dump().items() if column is not None}
    table = _read_table(path, list(named.values()))
    problems = []
    for what, column in named.items():
        if (times := table.column_names.count(column)) != 1:
            how = f"{times} columns" if times else "no column"
            advice = did_you_mean(column, table.column_names)
            problems.append(Problem(f"columns.{what}", f"{how} '{column}' in {path}; {advice}"))
    if problems:
        raise ConfigError(str(source), problems)
    table = pa.table({what: _text_column(path, table[column], column) for what, column in named.items()})
    _check_paths(path, table, folder)
    if "split" in named:
        _check_split(path, table["split"], named["split"])
    return _table_rows(table)


def _read_table(path: Path, wanted: list[str]) -> pa.Table:
    try:
        if path.suffix.lower() == ".parquet":
            with path.open("rb") as file:  # pyarrow only takes paths in UTF-8
                return parquet.read_table(file)
        columns = read_columns(path)
        if not set(wanted) <= set(columns):
            refuse_other_signs(path, columns, wanted)
        return read_cells(path, columns)
    except ERRORS as error:
        raise DataError(f"{path}: cannot be read as a table ({error}); give a .csv in UTF-8 or a .parquet.") from error


def _text_column(path: Path, column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Convert a column to text; null becomes empty."""
    try:
        return pc.utf8_trim_whitespace(pc.fill_null(pc.cast(column, pa.string()), ""))
    except pa.ArrowException as error:
        raise DataError(f"{path}: column '{name}' cannot be read as text ({error}); give paths and names.") from error


def _check_paths(path: Path, table: pa.Table, folder: Path) -> None:
    for role in (role for role in ROLES if role in table.column_names):
        leaving = table[role].filter(pc.match_substring_regex(table[role], LEAVES))
        if len(leaving):
            inside = place(str(leaving[0])).is_relative_to(folder.absolute())
            way = f", so take '{folder.absolute()}/' away from their beginning" if inside else ""
            raise DataError(
                f"{path}: {len(leaving)} paths of the {role} leave the folder, the first is '{leaving[0]}'; "
                f"paths are relative to `folder` of the mapping{way}."
            )


def _check_split(path: Path, column: pa.ChunkedArray, name: str) -> None:
    values = set(column.unique().to_pylist())
    if values not in ({""}, set()) and (odd := sorted(values - set(PARTS))):
        raise DataError(
            f"{path}: column '{name}' holds '{odd[0]}' where each row must say train, val or test, or none does."
        )


def _table_rows(table: pa.Table) -> Iterator[dict[str, str | None]]:
    for batch in table.to_batches(max_chunksize=4096):
        for row in batch.to_pylist():
            found = {what: text or None for what, text in row.items()}
            yield {**found, "id": found.get("id") or re.sub(r"\.\w+$", "", row["image"])}
