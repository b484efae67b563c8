"""The metrics of each sample, as sums, and how sums become the values of metrics; nothing here needs torch.

A metric's sums are (..., K), of one sample or of many added up. The last of the K is what is divided by in the end:
where it is 0, the metric is undefined. The functions take arrays of NumPy and tensors of torch alike.
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
"""Before a metric's name: what is summed over samples before it is divided."""
MEANINGS = b"dmx.meanings"
FORMS = ("_pooled", "_per_image")
"""How a metric's full name ends: by how the values of samples become one value."""


def base(name: str) -> str:
    """A metric's name without its form.

    >>> base("depth/rmse_pooled"), base("mask/iou_per_image")
    ('depth/rmse', 'mask/iou')
    """
    return name.removesuffix(FORMS[0]).removesuffix(FORMS[1])


def ratio(sums: Any) -> Any:
    """The first sum over the last."""
    return sums[..., 0] / sums[..., -1]


def root(sums: Any) -> Any:
    """The square root of the first sum over the last."""
    return ratio(sums) ** 0.5


def spread(sums: Any) -> Any:
    """The standard deviation from Σ d², Σ d and n."""
    squares, d, n = (sums[..., i] for i in range(3))
    variance = squares / n - (d / n) ** 2
    return (variance * (variance > 0)) ** 0.5  # rounding may leave a little less than 0; NaN stays NaN


def excess(sums: Any) -> Any:
    """S(y) - S(t) from P(y), E(y), P(t), E(t) and n; a share S = P / E is 0 where there is no energy E, nor P."""
    Py, Ey, Pt, Et, n = (sums[..., i] for i in range(5))
    return (Py / (Ey + (Ey == 0)) - Pt / (Et + (Et == 0))) * (n / n)


FINISHES: dict[str, Callable[[Any], Any]] = {"ratio": ratio, "root": root, "spread": spread, "excess": excess}
"""What turns the sums of a metric into its value. The keys are stored in the tables of runs and must never change."""


@dataclass(frozen=True)
class Meaning:
    """What must be known of a metric to compare its values.

    Attributes:
        finish: What turns its sums into the value, a key of `FINISHES`.
        higher_is_better: Whether the greater value is the better one.
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
        """The values of a metric for sums of any samples; not finite where it is undefined."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(FINISHES[self.meanings[name].finish](sums))

    def values(self, name: str) -> Float64[np.ndarray, "N"]:
        """Each sample's value; NaN where it is undefined."""
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
            pq.write_table(table, file)  # of a path, pyarrow takes no bytes that are no UTF-8

    @classmethod
    def load(cls, path: Path, only: Collection[str] = ()) -> "SampleTable":
        """Read back what `save` wrote: all metrics, or `only` these.

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
    """The lists of a column, all of one length, as an array."""
    lists = column.combine_chunks()
    return np.from_dlpack(lists.flatten()).reshape(len(lists), -1)  # `to_numpy` imports pandas
