"""The file format of a pack."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, TypeAdapter

from dmx.data.samples import COLUMNS, Samples
from dmx.errors import DataError

FILE = "pack.json"
VERSION = 2
UNKNOWN = 255
"""The value of unknown pixels of a mask."""

Encoding = Literal["raw", "png"]
Side = Annotated[int, Field(ge=8, le=4096)]


@dataclass(frozen=True)
class Shard:
    """One Arrow file."""

    file: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class PackInfo:
    """The contents of `pack.json`.

    Attributes:
        size: (height, width) of every picture.
        encoding: How pictures are stored in their cells.
        source: Fingerprint of the data set that was packed.
        samples: Files of samples, in order of their ids.
        backgrounds: Files of backgrounds.
    """

    size: tuple[Side, Side]
    encoding: Encoding
    source: str
    samples: tuple[Shard, ...]
    backgrounds: tuple[Shard, ...]

    def write(self, folder: Path) -> None:
        """Write `pack.json` into `folder`."""
        (folder / FILE).write_text(json.dumps({"version": VERSION, **asdict(self)}, indent=1), encoding="utf-8")

    @property
    def shards(self) -> tuple[Shard, ...]:
        """All files."""
        return self.samples + self.backgrounds


def again(root: Path) -> str:
    """Return the advice for a pack that cannot be used."""
    return f"remove {root} and pack the data set again."


def read_info(root: Path) -> PackInfo | None:
    """Read the `pack.json` of a pack.

    Returns:
        Its contents; None if there is no such file.

    Raises:
        DataError: It is of another version or damaged, or a file of the pack is missing or truncated.
    """
    path = root / FILE
    if not path.is_file():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
        version = found.pop("version")
        info = TypeAdapter(PackInfo).validate_python(found)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise damaged(path, f"{type(error).__name__}: {error}") from error
    if version != VERSION:
        raise DataError(f"{path}: is of version {version}, but this dmx reads {VERSION}; {again(root)}")
    for shard in info.shards:
        there = root / shard.file
        size = there.stat().st_size if there.is_file() else -1
        if size != shard.bytes:
            what = "is missing" if size < 0 else f"has {size} bytes instead of {shard.bytes}"
            raise DataError(f"{there}: {what}; {again(root)}")
    return info


@dataclass(frozen=True)
class Cell:
    """How one picture is stored: bytes of `dtype` and shape (height, width[, channels]), or a PNG of that."""

    encoding: Encoding
    dtype: str
    shape: tuple[int, ...]


def schema_of(columns: dict[str, pa.DataType], cells: dict[str, Cell]) -> pa.Schema:
    """Make the schema of a file, with the format of its pictures as metadata."""
    text = json.dumps({name: asdict(cell) for name, cell in cells.items()}, sort_keys=True)
    fields = {**columns, **dict.fromkeys(cells, pa.binary())}
    return pa.schema(list(fields.items()), metadata={"dmx": text})


def cells_of(schema: pa.Schema) -> dict[str, Cell]:
    """Read the picture formats that `schema_of` stored in the metadata."""
    return TypeAdapter(dict[str, Cell]).validate_json(schema.metadata[b"dmx"])


def open_shard(path: Path) -> pa.Table:
    """Open one file of a pack, memory-mapped; everything but the pixels is validated.

    Raises:
        DataError: The file is damaged. Damage to raw pixels is not detected; that would need the SHA-256.
    """
    try:
        table = pa.ipc.open_stream(pa.memory_map(os.fsencode(path))).read_all()
        table.validate(full=True)  # for pictures: their offsets
        if set(cells_of(table.schema)) != {field.name for field in table.schema if pa.types.is_binary(field.type)}:
            raise ValueError("pictures and how to read them")
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise damaged(path, type(error).__name__) from error
    return table


def damaged(path: Path, what: str) -> DataError:
    """Make the error for a file that has changed since it was written."""
    return DataError(f"{path}: is damaged ({' '.join(what.split())[:200]}); {again(path.parent)}")


def read_packed_samples(root: Path, info: PackInfo) -> Samples:
    """Read the list of samples of a pack; in place of a picture's path a record has the name of an Arrow file."""
    tables = []
    for shard in info.samples:
        table = open_shard(root / shard.file)
        if table.num_rows != shard.rows or not {"id", "group", "split", "background"} <= set(table.column_names):
            raise damaged(root / shard.file, f"{table.num_rows} rows of {table.column_names}")
        ends = pc.min_max(table["background"]).as_py()
        if not 0 <= (ends["min"] or 0) <= (ends["max"] or 0) < max(1, sum(one.rows for one in info.backgrounds)):
            raise damaged(root / shard.file, "backgrounds that are not there")
        columns = {name: table[name] for name in ("id", "group", "split")}
        for role in ("image", "mask", "depth"):
            name = shard.file if role in table.column_names else None
            columns[role] = pa.array([name] * table.num_rows, pa.string())
        columns["background"] = table["background"].cast(pa.string())
        tables.append(pa.table({name: columns[name] for name in COLUMNS}))
    if not tables:
        raise damaged(root / FILE, "no files of samples")
    return Samples(pa.concat_tables(tables))
