"""The samples of a data set: ids, groups, splits and paths of pictures."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, cast, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64

FILE = "samples.csv"
REQUIRED = ("id", "group", "image", "mask", "depth")
OPTIONAL = ("background", "split")
ROLES = ("image", "mask", "depth", "background")

Part = Literal["train", "val", "test"]


@dataclass(frozen=True)
class Record:
    """One sample; paths are POSIX paths relative to the data set's folder of pictures.

    Attributes:
        id: Name, unique in the data set.
        group: Samples of one group must not be split between train, val and test.
        split: Part in the official split, if there is one.
        image: The scene with the object.
        mask: The mask of the object.
        depth: The depth of `image`, if the data set has depth.
        background: The scene without the object, if the data set has it; many samples may share one.
    """

    id: str
    group: str
    split: Part | None
    image: str
    mask: str
    depth: str | None
    background: str | None

    def paths(self) -> dict[str, str]:
        """Return the path of each picture by role."""
        return {role: path for role in ROLES if (path := cast("str | None", getattr(self, role))) is not None}


COLUMNS = tuple(field.name for field in fields(Record))


class Samples(Sequence[Record]):
    """The samples of a data set, ordered by id, stored as columns: 400,000 take 60 MB instead of 400.

    Args:
        table: One row a sample; its columns are the fields of `Record`, as strings or null.
    """

    def __init__(self, table: pa.Table) -> None:
        order = pc.sort_indices(table["id"])
        self.table: pa.Table = table.take(order).combine_chunks()
        self._arrays = {name: self.table[name].combine_chunks() for name in COLUMNS}

    @classmethod
    def of(cls, records: Iterable[Record]) -> "Samples":
        """Make from records."""
        rows = list(records)
        columns = {name: pa.array([getattr(row, name) for row in rows], pa.string()) for name in COLUMNS}
        return cls(pa.table(columns))

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @overload
    def __getitem__(self, row: int) -> Record: ...
    @overload
    def __getitem__(self, row: slice) -> "list[Record]": ...
    def __getitem__(self, row: int | slice) -> "Record | list[Record]":
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        if not -len(self) <= row < len(self):
            raise IndexError(row)
        row %= len(self)
        return Record(**{name: array[row].as_py() for name, array in self._arrays.items()})

    def __iter__(self) -> Iterator[Record]:
        for batch in self.table.to_batches(max_chunksize=4096):
            yield from (Record(**row) for row in batch.to_pylist())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Samples) and bool(self.table.equals(other.table))

    def __hash__(self) -> int:
        return hash((len(self), self[0].id if len(self) else None))

    def column(self, name: str) -> list[Any]:
        """Return one field of all samples; None where it is null."""
        return cast("list[Any]", self.table[name].to_pylist())

    def joined(self, name: str) -> bytes:
        """Return one field of all samples, joined by zero bytes; null is empty."""
        column = self.table[name].combine_chunks().fill_null("")
        return bytes(pc.binary_join(pa.ListArray.from_arrays([0, len(column)], column), "\0")[0].as_buffer())

    def distinct(self, name: str) -> list[str]:
        """Return the distinct values of one field, sorted, without null."""
        return sorted(value for value in self.table[name].unique().to_pylist() if value is not None)

    def rows(self, ids: Sequence[str]) -> Int64[np.ndarray, "N"]:
        """Return the row of each id; -1 for ids that do not exist."""
        found = pc.index_in(pa.array(ids, pa.string()), value_set=self.table["id"].combine_chunks())
        return cast("np.ndarray", pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int64))
