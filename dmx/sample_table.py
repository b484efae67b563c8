"""Per-sample metrics as sums, and the functions that turn sums into metric values; does not import torch.

A metric's sums have shape (..., K), for one sample or added up over many. The last of the K is the divisor (a count);
if it is 0, the metric is undefined. The functions accept NumPy arrays and torch tensors.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float64

from dmx.errors import UserError
from dmx.stored import intact, replacing

SUMS = "sums/"
"""Prefix of the columns that hold a metric's sums."""
MEANINGS = b"dmx.meanings"
FORMS = ("_pooled", "_per_image")
"""Suffixes of a metric's full name, by how samples are aggregated."""


def base(name: str) -> str:
    """Return a metric's name without the suffix in `FORMS`.

    >>> base("depth/rmse_pooled"), base("mask/iou_per_image")
    ('depth/rmse', 'mask/iou')
    """
    return name.removesuffix(FORMS[0]).removesuffix(FORMS[1])


def ratio(sums: Any) -> Any:
    """Divide the first sum by the last."""
    return sums[..., 0] / sums[..., -1]


def root(sums: Any) -> Any:
    """Take the square root of the first sum divided by the last."""
    return ratio(sums) ** 0.5


def spread(sums: Any) -> Any:
    """Compute the standard deviation from Σ d², Σ d and n."""
    squares, d, n = (sums[..., i] for i in range(3))
    variance = squares / n - (d / n) ** 2
    return (variance * (variance > 0)) ** 0.5  # rounding may leave a little less than 0; NaN stays NaN


def excess(sums: Any) -> Any:
    """Compute S(y) - S(t) from P(y), E(y), P(t), E(t) and n; a share S = P / E is 0 where the energy E is 0."""
    Py, Ey, Pt, Et, n = (sums[..., i] for i in range(5))
    return (Py / (Ey + (Ey == 0)) - Pt / (Et + (Et == 0))) * (n / n)


def skill(sums: Any) -> Any:
    """Compute 1 - a / b from the squared errors a of a prediction and b of a reference."""
    return 1 - ratio(sums)


def mean_skill(sums: Any) -> Any:
    """Compute the mean of two skills, each from its two squared errors."""
    return (skill(sums[..., :2]) + skill(sums[..., 2:])) / 2


FINISHES: dict[str, Callable[[Any], Any]] = {
    "ratio": ratio,
    "root": root,
    "spread": spread,
    "excess": excess,
    "skill": skill,
    "mean_skill": mean_skill,
}
"""Functions from a metric's sums to its value. The keys are stored in the tables of runs and must never change."""


@dataclass(frozen=True)
class Meaning:
    """What is needed to compare values of a metric.

    Attributes:
        finish: Key in `FINISHES` of the function from sums to value.
        higher_is_better: Whether greater values are better.
    """

    finish: str
    higher_is_better: bool


@dataclass(frozen=True)
class SampleTable:
    """The sums of every metric, sample by sample.

    Attributes:
        ids: The samples.
        groups: The group of each; samples of one group are not independent.
        sums: (N, K) for each metric by `task/name`.
        meanings: What each metric means.
    """

    ids: Sequence[str]
    groups: Sequence[str]
    sums: Mapping[str, Float64[np.ndarray, "N K"]]
    meanings: Mapping[str, Meaning]

    def finished(self, name: str, sums: Float64[np.ndarray, "*M K"]) -> Float64[np.ndarray, "*M"]:
        """Compute a metric's values from sums over any samples; not finite where the metric is undefined."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(FINISHES[self.meanings[name].finish](sums))

    def values(self, name: str) -> Float64[np.ndarray, "N"]:
        """Return each sample's value; NaN where it is undefined."""
        sums = self.sums[name]
        return np.where(sums[:, -1] != 0, self.finished(name, sums), np.nan)

    def save(self, path: Path) -> None:
        """Write a Parquet table: id, group, each metric's value, and its sums under `sums/`."""
        columns: dict[str, pa.Array] = {"id": pa.array(self.ids), "group": pa.array(self.groups)}
        for name, sums in self.sums.items():
            columns[name] = pa.array(self.values(name), from_pandas=True)  # NaN is missing
            columns[SUMS + name] = pa.FixedSizeListArray.from_arrays(pa.array(sums.ravel()), sums.shape[1])
        meanings = {name: asdict(meaning) for name, meaning in self.meanings.items()}
        table = pa.table(columns).replace_schema_metadata({MEANINGS: json.dumps(meanings).encode()})
        with replacing(path, path.with_suffix(".partial")) as part, part.open("wb") as file:
            pq.write_table(table, file)  # pyarrow only takes paths in UTF-8

    @classmethod
    def load(cls, path: Path, only: Collection[str] = ()) -> "SampleTable":
        """Read a table that `save` wrote, with all metrics or `only` these.

        Raises:
            UserError: Another version of dmx wrote it, or it is damaged.
        """
        advice = f"restore it from a copy, or remove {path.parent}, and train the run again."
        # `read_table` imports pandas, which takes a second
        with intact(path, advice), path.open("rb") as data, pq.ParquetFile(data) as file:
            written = file.schema_arrow.metadata or {}
            if MEANINGS not in written:
                raise UserError(f"{path} was written by another version of dmx; train the run again to compare it.")
            known = {name: Meaning(**facts) for name, facts in json.loads(written[MEANINGS]).items()}
            meanings = {name: meaning for name, meaning in known.items() if not only or name in only}
            table = file.read(columns=["id", "group", *(SUMS + name for name in meanings)])
            sums = {name: rows(table[SUMS + name]) for name in meanings}
            return cls(table["id"].to_pylist(), table["group"].to_pylist(), sums, meanings)


def rows(column: pa.ChunkedArray) -> Float64[np.ndarray, "N K"]:
    """Convert a column of lists of equal length to an array."""
    lists = column.combine_chunks()
    return np.from_dlpack(lists.flatten()).reshape(len(lists), -1)  # `to_numpy` imports pandas
