"""What each sample came to: kept with a run, so that runs can be compared sample by sample."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float64

from dmx.registry import depth_metrics, mask_metrics

Array = Float64[np.ndarray, "..."]
SUMS = "sums/"
"""Before a metric's name: what is summed over samples before it is divided."""


def finished(name: str, sums: Array) -> Array:
    """The values of the metric `task/name` for sums (..., K); not finite where it is undefined."""
    task, _, metric = name.partition("/")
    component = (mask_metrics if task == "mask" else depth_metrics)[metric]
    values: Array = component.facts["finish"](torch.from_numpy(np.ascontiguousarray(sums))).numpy()
    return values


@dataclass(frozen=True)
class Samples:
    """The sums of every metric, sample by sample.

    Attributes:
        ids: The samples.
        groups: The group of each; samples of one group are not independent.
        sums: (N, K) for each metric by `task/name`; where the last is 0 the metric is undefined.
    """

    ids: Sequence[str]
    groups: Sequence[str]
    sums: Mapping[str, Float64[np.ndarray, "N K"]]

    def values(self, name: str) -> Float64[np.ndarray, "N"]:
        """Each sample's value; NaN where it is undefined."""
        sums = self.sums[name]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(sums[:, -1] != 0, finished(name, sums), np.nan)

    def save(self, path: Path) -> None:
        """Write a Parquet table: id, group, each metric's value, and its sums under `sums/`."""
        columns: dict[str, pa.Array] = {"id": pa.array(self.ids), "group": pa.array(self.groups)}
        for name, sums in self.sums.items():
            columns[name] = pa.array(self.values(name), from_pandas=True)  # NaN is missing
            columns[SUMS + name] = pa.FixedSizeListArray.from_arrays(pa.array(sums.ravel()), sums.shape[1])
        part = path.with_suffix(".partial")
        pq.write_table(pa.table(columns), part)
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Samples":
        """Read back what `save` wrote."""
        table = pq.read_table(path)
        names = [column.removeprefix(SUMS) for column in table.column_names if column.startswith(SUMS)]
        sums = {name: np.array(table[SUMS + name].to_pylist(), dtype=np.float64) for name in names}
        return cls(table["id"].to_pylist(), table["group"].to_pylist(), sums)
