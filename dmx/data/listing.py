"""Read the list of samples: `samples.csv`, or, without it, one folder per role with files of equal stem."""

import csv as plain_csv
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from dmx.data.folders import by_stem, escaped, inside, listable, walk
from dmx.data.formats import supported, why_not
from dmx.data.samples import COLUMNS, FILE, OPTIONAL, REQUIRED, ROLES, Record, Samples
from dmx.data.table import ERRORS, read_cells, read_columns, refuse_other_signs
from dmx.errors import DataError, did_you_mean

SHOWN = 10
LEAVES = r"^/|^~/|^\.\.$|^\.\./|/\.\./|/\.\.$"
"""Matches paths that leave their base folder."""


def read_samples(root: Path, *, depth: bool) -> Samples:
    """Read the samples of the folder `root`.

    Args:
        root: The data set.
        depth: Whether it has depth.

    Raises:
        DataError: The list is invalid (the first ten problems are named) or empty.
    """
    path = root / FILE
    required = tuple(name for name in REQUIRED if depth or name != "depth")
    if path.is_file() or path.is_symlink():  # a dangling link is reported as such on reading
        samples = Samples(_from_csv(path, required))
    else:
        _refuse_other_lists(root)
        samples = Samples.of(_from_folders(root, required))
    if not len(samples):
        roles = ", ".join(f"{role}/" for role in ROLES if role in required)
        raise DataError(
            f"{root}: no sample found; list them in {FILE} ({','.join(required)}[,background][,split]), or put "
            f"pictures with equal stems into {roles}, optionally background/."
        )
    return samples


def _refuse_other_lists(root: Path) -> None:
    """Refuse a list of samples under another name, which would be ignored together with its groups.

    Raises:
        DataError: A file looks like a misnamed list.
    """
    for name in inside(root)[0]:
        if name.lower() == FILE:
            raise DataError(f"{root}: has {escaped(name)}, but the list of samples is {FILE}; rename it to that.")
        if name.lower().startswith(Path(FILE).stem + "."):
            raise DataError(
                f"{root}: has {escaped(name)}, but the list of samples is {FILE}; save it as that, with commas and in "
                "UTF-8, or take it away to have the folders read without a list."
            )


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
    """Parse the rows as strings; also return the problem of each line with a wrong number of cells."""
    odd: dict[int, str] = {}

    def note(row: csv.InvalidRow) -> str:
        surplus = row.actual_columns > row.expected_columns
        odd[row.number] = f"has {'more' if surplus else 'fewer'} cells than the first line names"
        return "skip"

    try:
        columns = read_columns(path)
        _check_columns(path, columns, required)
        table = read_cells(path, columns, note)
    except ERRORS as error:
        raise DataError(
            f"{path}: is not a table of comma-separated values in UTF-8 ({error}); save it as such."
        ) from error
    return table, odd


def _written(path: Path) -> list[int]:
    """Return the line on which each row begins; pyarrow does not count empty lines, and a row may span several."""
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
        refuse_other_signs(path, columns, required)
    if missing and set(required) <= {name.strip() for name in columns}:
        odd = next(name for name in columns if name != name.strip())
        raise DataError(f"{path}: the column '{odd}' begins or ends with a blank; take the blanks beside commas away.")
    if missing:
        raise DataError(
            f"{path}: column {', '.join(missing)} is missing; the first line must name {','.join(required)}."
        )
    for name in columns:
        if columns.count(name) > 1:
            raise DataError(f"{path}: the column '{name}' is twice in the first line; take one of the two away.")
        if name not in REQUIRED + OPTIONAL:
            raise DataError(f"{path}: unknown column '{name}'; {did_you_mean(name, REQUIRED + OPTIONAL)}.")


def _wrong(table: pa.Table, required: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield invalid rows with their problem, the most serious problem of a row first."""
    empty = {name: np.flatnonzero(pc.equal(table[name], "")) for name in required}
    for row in sorted(set().union(*(rows.tolist() for rows in empty.values()))):
        yield row, ", ".join(name for name, rows in empty.items() if row in rows) + " is empty"
    for role in (role for role in ROLES if role in table.column_names):
        for row in map(int, np.flatnonzero(pc.match_substring_regex(table[role], LEAVES))):
            yield row, f"'{table[role][row]}' leaves the folder of the data set; paths are relative to it"
        for row in map(int, np.flatnonzero(pc.match_substring(table[role], "\0"))):
            yield row, f"the path of the {role} holds a zero byte"
    if "split" in table.column_names:
        for row in map(
            int, np.flatnonzero(pc.invert(pc.is_in(table["split"], pa.array(["", "train", "val", "test"]))))
        ):
            yield row, f"split '{table['split'][row]}' must be train, val or test"


def _wrong_together(table: pa.Table) -> Iterator[str]:
    """Yield problems between rows."""
    counts = pc.value_counts(table["id"])
    for one in counts.filter(pc.greater(counts.field("counts"), 1)).to_pylist():
        yield f"id '{one['values']}' is there {one['counts']} times; ids must be unique"
    for name in (name for name in OPTIONAL if name in table.column_names):
        filled = table.num_rows - np.count_nonzero(pc.equal(table[name], ""))
        if 0 < filled < table.num_rows:
            yield f"`{name}` is given in {filled} of {table.num_rows} rows; give it in all or in none"


def _column(table: pa.Table, name: str) -> pa.ChunkedArray | pa.Array:
    if name not in table.column_names:
        return pa.nulls(table.num_rows, pa.string())
    return pc.if_else(pc.equal(table[name], ""), None, table[name])


def _from_folders(root: Path, required: Sequence[str]) -> list[Record]:
    """Match pictures of equal stem; each sample is its own group, since groups are not declared."""
    wanted = [role for role in ROLES if role in required or role == "background"]
    there = {role: list(walk(root / role)) for role in wanted}
    _refuse_odd(root, there)
    found = {role: by_stem(paths, role) for role, paths in there.items()}
    roles = [role for role in wanted if role in required or found[role]]
    stems = sorted(set().union(*(found[role] for role in roles if role != "background")))
    unpaired = ((stem, role, found[role].get(stem, [])) for stem in stems for role in roles)
    odd = [f"{stem}: {_several(role, paths)}" for stem, role, paths in unpaired if len(paths) != 1]
    if odd:
        raise _without_list(root, "pictures without their partners of equal stem; add them, take the others away", odd)
    samples = []
    for stem in stems:
        files: dict[str, Any] = {role: f"{role}/{found[role][stem][0]}" if role in roles else None for role in ROLES}
        samples.append(Record(stem, stem, None, **files))
    return samples


def _refuse_odd(root: Path, there: dict[str, list[str]]) -> None:
    """Refuse pictures that would otherwise be silently ignored.

    Raises:
        DataError: Pictures are in nested folders, in unsupported formats, or have names that are not UTF-8.
    """
    said = {f"{role}/{path}": why_not(path, role) for role, paths in there.items() for path in paths}
    if foreign := [f"{escaped(path)}: {why}" for path, why in said.items() if why is not None]:
        raise _without_list(root, "pictures in formats that are not read; convert them", foreign)
    paths = [f"{role}/{path}" for role, some in there.items() for path in some if supported(path, role)]
    if deep := [path for path in paths if path.count("/") > 1]:
        *roles, last = (f"{role}/" for role in there)
        what = f"pictures in folders of {', '.join(roles)} and {last} are not paired by their names"
        way = "lay them directly into these, bring them here by `dmx data import mapping`"
        raise _without_list(root, f"{what}; {way}", deep)
    if unlisted := [escaped(path) for path in paths if not listable(path)]:
        raise _without_list(root, "pictures whose names are not UTF-8; rename them", unlisted)


def _several(role: str, paths: Sequence[str]) -> str:
    return f"{len(paths)} in {role}/ ({', '.join(paths)})" if paths else f"no {role}/"


def _without_list(root: Path, what: str, names: Sequence[str]) -> DataError:
    more = f"\n  and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return DataError(f"{root}: {what}, or write {FILE}:" + "".join(f"\n  {one}" for one in names[:SHOWN]) + more)
