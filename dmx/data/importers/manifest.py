"""A table of paths, CSV or Parquet, read as the rows of a mapping."""

import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from dmx.data.importers.mapping_file import Columns
from dmx.data.listing import LEAVES
from dmx.data.samples import ROLES
from dmx.data.table import ERRORS, read_cells, read_columns, refuse_other_signs
from dmx.errors import ConfigError, DataError, Problem, did_you_mean
from dmx.written import place

PARTS = ("train", "val", "test")


def read_manifest(path: Path, columns: Columns, source: Path, folder: Path) -> Iterator[dict[str, str | None]]:
    """The rows by what they hold (`id`, roles, `group`, `split`); None where a cell is empty.

    Args:
        path: The table.
        columns: Its columns.
        source: The mapping that names them, for messages.
        folder: Where the paths begin.

    Raises:
        ConfigError: Columns are not in the table: all at once.
        DataError: The table cannot be read, a path leaves the folder, or a split is none.
    """
    named = {what: column for what, column in columns.model_dump().items() if column is not None}
    table = _read(path, list(named.values()))
    problems = []
    for what, column in named.items():
        if (times := table.column_names.count(column)) != 1:
            how = f"{times} columns" if times else "no column"
            advice = did_you_mean(column, table.column_names)
            problems.append(Problem(f"columns.{what}", f"{how} '{column}' in {path}; {advice}"))
    if problems:
        raise ConfigError(str(source), problems)
    table = pa.table({what: _text(path, table[column], column) for what, column in named.items()})
    _check_paths(path, table, folder)
    if "split" in named:
        _check_split(path, table["split"], named["split"])
    return _rows(table)


def _read(path: Path, wanted: list[str]) -> pa.Table:
    try:
        if path.suffix.lower() == ".parquet":
            with path.open("rb") as file:  # of a path, pyarrow takes no bytes that are no UTF-8
                return parquet.read_table(file)
        columns = read_columns(path)
        if not set(wanted) <= set(columns):
            refuse_other_signs(path, columns, wanted)
        return read_cells(path, columns)
    except ERRORS as error:
        raise DataError(f"{path}: cannot be read as a table ({error}); give a .csv in UTF-8 or a .parquet.") from error


def _text(path: Path, column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """A column as text, empty where nothing is given."""
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


def _rows(table: pa.Table) -> Iterator[dict[str, str | None]]:
    for batch in table.to_batches(max_chunksize=4096):
        for row in batch.to_pylist():
            found = {what: text or None for what, text in row.items()}
            yield {**found, "id": found.get("id") or re.sub(r"\.\w+$", "", row["image"])}
