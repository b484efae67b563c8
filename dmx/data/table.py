"""Read CSV files as tables of text cells, stripped of surrounding blanks."""

import csv as plain_csv
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from dmx.errors import DataError

SIGNS = {";": "semicolons", "\t": "tabs", "|": "bars"}
"""Separators other than a comma, with their names."""
ERRORS = (pa.ArrowException, plain_csv.Error, OSError, UnicodeDecodeError)
"""Errors that reading a malformed table raises."""

Odd = Callable[[csv.InvalidRow], str]
"""Handler of a row with a wrong number of cells; returns "skip" or "error"."""


def read_columns(path: Path) -> list[str]:
    """Read the column names in the first line; blanks are kept, so that messages can show them."""
    with path.open(encoding="utf-8-sig") as file:  # spreadsheets put a byte order mark in front
        return next(plain_csv.reader(file), [])


def refuse_other_signs(path: Path, columns: Sequence[str], wanted: Sequence[str]) -> None:
    """Refuse a table whose wanted columns appear once the header is split at another separator.

    Raises:
        DataError: The file uses semicolons, tabs or bars instead of commas.
    """
    line = ",".join(columns)
    for sign, called in SIGNS.items():
        if set(wanted) <= {name.strip(' "') for name in line.split(sign)} and sign in line:
            raise DataError(f"{path}: has {called} between its cells; save it with commas.")


def read_cells(path: Path, columns: Sequence[str], odd: Odd | None = None) -> pa.Table:
    """Read all rows below the header as text; with a handler `odd`, rows are numbered, which rules out threads."""
    with path.open("rb") as file:  # pyarrow only takes paths in UTF-8
        table = csv.read_csv(
            file,
            read_options=csv.ReadOptions(use_threads=odd is None),  # with threads rows have no numbers
            parse_options=csv.ParseOptions(invalid_row_handler=odd),
            convert_options=csv.ConvertOptions(column_types=dict.fromkeys(columns, pa.string())),
        )
    names, cells = table.column_names, table.columns
    return pa.table([pc.utf8_trim_whitespace(pc.cast(column, pa.string())) for column in cells], names=names)
