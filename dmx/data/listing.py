"""Reading the list of samples: `samples.csv`, or, where there is none, folders by role with equal stems."""

import csv as plain_csv
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from dmx.data.samples import COLUMNS, FILE, OPTIONAL, REQUIRED, ROLES, Record, Samples
from dmx.errors import DataError, did_you_mean

PICTURES = frozenset({".png", ".jpg", ".jpeg"})
SHOWN = 10
LEAVES = r"^/|^\.\.$|^\.\./|/\.\./|/\.\.$"
"""Paths that lead out of the folder in which they begin."""


def read_samples(root: Path, *, depth: bool) -> Samples:
    """The samples of the folder `root`.

    Args:
        root: The data set.
        depth: Whether it has depth.

    Raises:
        DataError: The list is wrong (the first ten problems are named) or empty.
    """
    path = root / FILE
    required = tuple(name for name in REQUIRED if depth or name != "depth")
    samples = Samples(_from_csv(path, required)) if path.is_file() else Samples.of(_from_folders(root, required))
    if not len(samples):
        roles = ", ".join(f"{role}/" for role in ROLES if role in required)
        raise DataError(
            f"{root}: no sample found; list them in {FILE} ({','.join(required)}[,background][,split]), or put "
            f"pictures with equal stems into {roles}, optionally background/."
        )
    return samples


def _from_csv(path: Path, required: Sequence[str]) -> pa.Table:
    table, odd = _parse(path, required)
    lines = np.arange(2, 2 + table.num_rows + len(odd))
    lines = np.delete(lines, [line - 2 for line in odd])
    wrong = {**odd, **{int(lines[row]): what for row, what in reversed(list(_wrong(table, required)))}}
    if wrong:
        written = _written(path)
        wrong = {written[min(line, len(written)) - 1]: what for line, what in wrong.items()}
    problems = [f"line {line}: {what}" for line, what in sorted(wrong.items())] + list(_wrong_together(table))
    if problems:
        more = f"\n  and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise DataError(f"{path}: mend these:" + "".join(f"\n  {one}" for one in problems[:SHOWN]) + more)
    return pa.table({name: _column(table, name) for name in COLUMNS})


def _parse(path: Path, required: Sequence[str]) -> tuple[pa.Table, dict[int, str]]:
    """The rows as strings, and what is wrong with the lines that are none."""
    odd: dict[int, str] = {}

    def note(row: csv.InvalidRow) -> str:
        surplus = row.actual_columns > row.expected_columns
        odd[row.number] = f"has {'more' if surplus else 'fewer'} cells than the first line names"
        return "skip"

    try:
        with path.open(encoding="utf-8-sig") as file:  # spreadsheets put a byte order mark in front
            columns = next(plain_csv.reader(file), [])
        _check_columns(path, columns, required)
        table = csv.read_csv(
            path,
            read_options=csv.ReadOptions(use_threads=False),  # else lines have no numbers
            parse_options=csv.ParseOptions(invalid_row_handler=note),
            convert_options=csv.ConvertOptions(column_types=dict.fromkeys(columns, pa.string())),
        )
    except (UnicodeDecodeError, pa.ArrowInvalid) as error:
        raise DataError(
            f"{path}: is not a table of comma-separated values in UTF-8 ({error}); save it as such."
        ) from error
    return table, odd


def _written(path: Path) -> list[int]:
    """The line in which each row begins: the reader of the table counts no empty lines, and rows may have several."""
    lines, before = [], 0
    with path.open(encoding="utf-8-sig", newline="") as file, suppress(plain_csv.Error):  # a quote that never ends
        reader = plain_csv.reader(file)
        for row in reader:
            if row:
                lines.append(before + 1)
            before = reader.line_num
    return lines


def _check_columns(path: Path, columns: Sequence[str], required: Sequence[str]) -> None:
    missing = [name for name in required if name not in columns]
    if missing:
        raise DataError(
            f"{path}: column {', '.join(missing)} is missing; the first line must name {','.join(required)}."
        )
    for name in columns:
        if name not in REQUIRED + OPTIONAL:
            raise DataError(f"{path}: unknown column '{name}'; {did_you_mean(name, REQUIRED + OPTIONAL)}.")


def _wrong(table: pa.Table, required: Sequence[str]) -> Iterator[tuple[int, str]]:
    """The rows that are wrong by themselves, and how; the gravest of a row first."""
    empty = {name: np.flatnonzero(pc.equal(table[name], "")) for name in required}
    for row in sorted(set().union(*(rows.tolist() for rows in empty.values()))):
        yield row, ", ".join(name for name, rows in empty.items() if row in rows) + " is empty"
    for role in (role for role in ROLES if role in table.column_names):
        for row in map(int, np.flatnonzero(pc.match_substring_regex(table[role], LEAVES))):
            yield row, f"'{table[role][row]}' leaves the folder of the data set; paths are relative to it"
    if "split" in table.column_names:
        for row in map(
            int, np.flatnonzero(pc.invert(pc.is_in(table["split"], pa.array(["", "train", "val", "test"]))))
        ):
            yield row, f"split '{table['split'][row]}' must be train, val or test"


def _wrong_together(table: pa.Table) -> Iterator[str]:
    """What is wrong between rows."""
    counts = pc.value_counts(table["id"])
    for one in counts.filter(pc.greater(counts.field("counts"), 1)).to_pylist():
        yield f"id '{one['values']}' stands there {one['counts']} times; ids must be unique"
    for name in (name for name in OPTIONAL if name in table.column_names):
        filled = table.num_rows - np.count_nonzero(pc.equal(table[name], ""))
        if 0 < filled < table.num_rows:
            yield f"`{name}` is given in {filled} of {table.num_rows} rows; give it in all or in none"


def _column(table: pa.Table, name: str) -> pa.ChunkedArray | pa.Array:
    if name not in table.column_names:
        return pa.nulls(table.num_rows, pa.string())
    return pc.if_else(pc.equal(table[name], ""), None, table[name])


def _from_folders(root: Path, required: Sequence[str]) -> list[Record]:
    """Pair pictures of equal stem; each is a group of its own, since nothing says which belong together."""
    found = {role: _stems(root / role) for role in ROLES}
    roles = [role for role in ROLES if role in required or (role == "background" and found[role])]
    stems = sorted(set().union(*(found[role] for role in roles if role != "background")))
    counts = ((stem, role, len(found[role].get(stem, ()))) for stem in stems for role in roles)
    odd = [f"{stem}: {count or 'no'} {'in ' * (count > 1)}{role}/" for stem, role, count in counts if count != 1]
    if odd:
        raise DataError(
            f"{root}: pictures without their partners of equal stem; add them, take the others away, or write {FILE}:"
            + "".join(f"\n  {one}" for one in odd[:SHOWN])
            + (f"\n  and {len(odd) - SHOWN} more" if len(odd) > SHOWN else "")
        )
    return [
        Record(
            stem,
            stem,
            None,
            found["image"][stem][0],
            found["mask"][stem][0],
            found["depth"][stem][0] if "depth" in roles else None,
            found["background"][stem][0] if "background" in roles else None,
        )
        for stem in stems
    ]


def _stems(folder: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix.lower() in PICTURES:
            found[path.stem].append(f"{folder.name}/{path.name}")
    return found
