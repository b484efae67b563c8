"""A table of comma-separated values, as people and programs write it: every cell is text, without blanks around it."""

import csv as plain_csv
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from dmx.errors import DataError

SIGNS = {";": "semicolons", "\t": "tabs", "|": "bars"}
"""What stands between cells where it is no comma."""
ERRORS = (pa.ArrowException, plain_csv.Error, OSError, UnicodeDecodeError)
"""What reading raises where there is no such table."""

Odd = Callable[[csv.InvalidRow], str]
"""What to do with a row of more or fewer cells than the first: "skip" or "error"."""


def read_columns(path: Path) -> list[str]:
    """What the first line names; its blanks stay, so that they can be spoken of."""
    with path.open(encoding="utf-8-sig") as file:  # spreadsheets put a byte order mark in front
        return next(plain_csv.reader(file), [])


def refuse_other_signs(path: Path, columns: Sequence[str], wanted: Sequence[str]) -> None:
    """Make sure that columns that are missed are not there with another sign than a comma between them.

    Raises:
        DataError: They are.
    """
    line = ",".join(columns)
    for sign, called in SIGNS.items():
        if set(wanted) <= {name.strip(' "') for name in line.split(sign)} and sign in line:
            raise DataError(f"{path}: has {called} between its cells; save it with commas.")


def read_cells(path: Path, columns: Sequence[str], odd: Odd | None = None) -> pa.Table:
    """All rows under the first line, as text; lines are counted where somebody listens to odd ones."""
    with path.open("rb") as file:  # of a path, pyarrow takes no bytes that are no UTF-8
        table = csv.read_csv(
            file,
            read_options=csv.ReadOptions(use_threads=odd is None),  # else lines have no numbers
            parse_options=csv.ParseOptions(invalid_row_handler=odd),
            convert_options=csv.ConvertOptions(column_types=dict.fromkeys(columns, pa.string())),
        )
    names, cells = table.column_names, table.columns
    return pa.table([pc.utf8_trim_whitespace(pc.cast(column, pa.string())) for column in cells], names=names)
