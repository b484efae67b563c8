"""The list of samples: `samples.csv`, or, where there is none, folders by role with equal stems."""

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, cast

from dmx.errors import DataError, did_you_mean

FILE = "samples.csv"
REQUIRED = ("id", "group", "image", "mask", "depth")
OPTIONAL = ("background", "split")
ROLES = ("image", "mask", "depth", "background")
PICTURES = frozenset({".png", ".jpg", ".jpeg"})
SHOWN = 10

Part = Literal["train", "val", "test"]


@dataclass(frozen=True)
class Record:
    """One sample: who it is and where its pictures are, as posix paths relative to the data set's folder.

    Attributes:
        id: Its name, unique in the data set.
        group: What must not be split.
        split: Its part in the official split, where there is one.
        image: The scene with the object.
        mask: Where the object is.
        depth: The depth of `image`.
        background: The scene without the object, where the data set has it; many samples may share one.
    """

    id: str
    group: str
    split: Part | None
    image: str
    mask: str
    depth: str
    background: str | None

    def paths(self) -> dict[str, str]:
        """The path of each picture by its role."""
        return {role: path for role in ROLES if (path := cast("str | None", getattr(self, role))) is not None}


def read_samples(root: Path) -> tuple[Record, ...]:
    """The samples of the folder `root`, ordered by id.

    Raises:
        DataError: The list is wrong (the first ten problems are named) or empty.
    """
    path = root / FILE
    records = _from_csv(path) if path.is_file() else _from_folders(root)
    if not records:
        raise DataError(
            f"{root}: no sample found; list them in {FILE} ({','.join(REQUIRED)}[,background][,split]), or put "
            f"pictures with equal stems into {', '.join(f'{role}/' for role in ROLES[:3])}, optionally background/."
        )
    return tuple(sorted(records, key=lambda record: record.id))


def _from_csv(path: Path) -> list[Record]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets put a byte order mark in front
            reader = csv.DictReader(file, restval="", restkey="surplus")
            columns, rows = list(reader.fieldnames or ()), list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path}: is not a table of comma-separated values in UTF-8 ({error}); save it as such."
        ) from error
    _check_columns(path, columns)
    problems = [
        f"line {line}: {what}" for line, row in enumerate(rows, start=2) if (what := _wrong_in(row)) is not None
    ]
    counts = Counter(row["id"] for row in rows)
    problems += [f"id '{name}' stands there {n} times; ids must be unique" for name, n in counts.items() if n > 1]
    for column in OPTIONAL:
        filled = sum(bool(row.get(column)) for row in rows)
        if 0 < filled < len(rows):
            problems.append(f"`{column}` is given in {filled} of {len(rows)} rows; give it in all or in none")
    if problems:
        more = f"\n  and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise DataError(f"{path}: mend these:" + "".join(f"\n  {one}" for one in problems[:SHOWN]) + more)
    return [_record(row) for row in rows]


def _check_columns(path: Path, columns: list[str]) -> None:
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise DataError(
            f"{path}: column {', '.join(missing)} is missing; the first line must name {','.join(REQUIRED)}."
        )
    for name in columns:
        if name not in REQUIRED + OPTIONAL:
            raise DataError(f"{path}: unknown column '{name}'; {did_you_mean(name, REQUIRED + OPTIONAL)}.")


def _wrong_in(row: dict[str, str]) -> str | None:
    """What is wrong with one row, if anything."""
    empty = [name for name in REQUIRED if not row[name]]
    if empty:
        return f"{', '.join(empty)} is empty"
    if "surplus" in row:
        return "has more cells than the first line names"
    outside = [row[role] for role in ROLES if row.get(role) and _leaves(row[role])]
    if outside:
        return f"'{outside[0]}' leaves the folder of the data set; paths are relative to it"
    split = row.get("split")
    return f"split '{split}' must be train, val or test" if split not in (None, "", "train", "val", "test") else None


def _leaves(path: str) -> bool:
    return PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts


def _record(row: dict[str, str]) -> Record:
    return Record(
        id=row["id"],
        group=row["group"],
        split=cast("Part | None", row.get("split") or None),
        image=row["image"],
        mask=row["mask"],
        depth=row["depth"],
        background=row.get("background") or None,
    )


def _from_folders(root: Path) -> list[Record]:
    """Pair pictures of equal stem; each is a group of its own, since nothing says which belong together."""
    found = {role: _stems(root / role) for role in ROLES}
    roles = ROLES if found["background"] else ROLES[:3]
    stems = sorted(found["image"].keys() | found["mask"].keys() | found["depth"].keys())
    odd = [f"{stem}: no {role}/" for stem in stems for role in roles if stem not in found[role]]
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
            found["image"][stem],
            found["mask"][stem],
            found["depth"][stem],
            found["background"].get(stem),
        )
        for stem in stems
    ]


def _stems(folder: Path) -> dict[str, str]:
    if not folder.is_dir():
        return {}
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)
    return {path.stem: f"{folder.name}/{path.name}" for path in paths}
