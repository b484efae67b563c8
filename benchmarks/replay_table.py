"""A table of learning curves, and how far a search on it is from the best that the table has."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from table_spaces import DEPTH, MASK, TASKS, Task

from dmx.config import StudyConfig
from dmx.config.space import Space
from dmx.results.pareto import hypervolume

Step = tuple[int, int, float]
"""A row, an epoch of it, and the simulated second at which it ended."""


@dataclass(frozen=True, eq=False)
class Table:
    """The learning curves of all configurations of a task, each the mean of its training seeds.

    Attributes:
        name: The task; with `+mask` or `+depth` at its end two objectives are searched for.
        task: The task.
        keys: The configurations.
        values: Depth error and mask overlap, rows x epochs x 2, less is better; NaN where a training had ended.
        seconds: Of one epoch of each row: the median of all rows with as many parameters.
        seeds: The training seeds of each row.
    """

    name: str
    task: Task
    keys: Sequence[str]
    values: np.ndarray
    seconds: Sequence[float]
    seeds: int

    @cached_property
    def rows(self) -> dict[str, int]:
        """The row of each configuration."""
        return {key: row for row, key in enumerate(self.keys)}

    @cached_property
    def space(self) -> Space:
        """The search space."""
        return self.study()[1]

    @cached_property
    def lengths(self) -> list[int]:
        """The epochs of each row before it diverged."""
        return [int(n) for n in np.isfinite(self.values).all(2).sum(1)]

    @property
    def several(self) -> bool:
        """Whether both metrics are objectives."""
        return "+" in self.name

    @property
    def own(self) -> int:
        """The column of the experiment's own objective."""
        return (DEPTH, MASK).index(self.task.objective)

    def study(self, root: Path = Path("none"), **changes: Any) -> tuple[StudyConfig, Space]:
        """A study of the task."""
        other = [metric for metric in (DEPTH, MASK) if metric != self.task.objective]
        return self.task.study(root, **({"objectives": other} if self.several else {}), **changes)

    def metrics(self, row: int, epoch: int) -> dict[str, float | None]:
        """What validation shows after an epoch of a row."""
        depth, mask = self.values[row, epoch - 1]
        return {DEPTH: float(depth), MASK: float(-mask)}

    @cached_property
    def best(self) -> np.ndarray:
        """The best value of each row, each objective for itself; infinity for rows that diverge."""
        return np.where(np.isfinite(self.values).all((1, 2))[:, None], self.values.min(1), np.inf)

    @cached_property
    def scale(self) -> tuple[np.ndarray, np.ndarray]:
        """The table's best values, and what the median row is behind them."""
        low = self.best.min(0)
        return low, np.median(self.best, 0) - low

    @cached_property
    def unit(self) -> np.ndarray:
        """All values, 0 the best of the table and 1 the median row's best; infinity in rows that diverge."""
        low, spread = self.scale
        return np.where(np.isfinite(self.values).all((1, 2), keepdims=True), (self.values - low) / spread, np.inf)

    @cached_property
    def whole(self) -> float:
        """The hypervolume of the whole table."""
        return hypervolume(front(self.unit.reshape(-1, 2)), np.ones(2))

    def regrets(self, steps: Sequence[Step], budget: int) -> np.ndarray:
        """The regret after each epoch of a search up to the budget: from 1, the median row, to 0, the best there is.

        With two objectives it is the share of the table's hypervolume that is missing.
        """
        seen = [self.unit[row, epoch - 1] for row, epoch, _ in steps[:budget]]
        if not self.several:
            found = np.minimum(np.minimum.accumulate([one[self.own] for one in seen]), 1.0)
        else:
            found, kept = np.ones(len(seen)), np.empty((0, 2))
            for place, one in enumerate(seen):
                if (one < 1).all() and not (kept <= one).all(1).any():
                    kept = front(np.vstack([kept, one]))
                    found[place] = 1 - hypervolume(kept, np.ones(2)) / self.whole
                elif place:
                    found[place] = found[place - 1]
        return np.append(found, np.full(budget - len(found), found[-1]))


def front(values: np.ndarray) -> np.ndarray:
    """The points that no other dominates."""
    ordered = values[np.lexsort((values[:, 1], values[:, 0]))]
    return ordered[np.append(True, np.minimum.accumulate(ordered[:, 1])[:-1] > ordered[1:, 1])]


def mean_curve(seeds: Sequence[Sequence[float | None]], epochs: int) -> np.ndarray:
    """The mean over the training seeds; from where one of them has no value on, NaN."""
    padded = [[np.nan if v is None else v for v in one] + [np.nan] * (epochs - len(one)) for one in seeds]
    mean = np.mean(np.array(padded, float), 0)
    return np.where(np.maximum.accumulate(np.isnan(mean)), np.nan, mean)


def read_table(path: Path) -> Table:
    """Read a table of one objective.

    Raises:
        SystemExit: It is of another space than today's.
    """
    task, found = TASKS[path.stem], pq.read_table(path)
    if json.loads(found.schema.metadata[b"definition"]) != json.loads(json.dumps(task.definition())):
        raise SystemExit(f"{path} is of another space than table_spaces.py has now; make it anew with tables.py")
    columns = found.to_pydict()
    curves = [
        np.stack([mean_curve(depth, task.epochs), -mean_curve(mask, task.epochs)], 1)
        for depth, mask in zip(columns["depth"], columns["mask"], strict=True)
    ]
    costs: dict[int, list[float]] = defaultdict(list)
    for parameters, seconds in zip(columns["parameters"], columns["seconds"], strict=True):
        costs[parameters].append(seconds)
    seconds = [float(np.nanmedian(costs[parameters])) for parameters in columns["parameters"]]
    return Table(path.stem, task, columns["values"], np.stack(curves), seconds, min(columns["seeds"]))


def read_tables(folder: Path, only: Sequence[str] = ()) -> list[Table]:
    """All tables in a folder, each with one and with two objectives."""
    found = []
    for path in sorted(folder.glob("*.parquet")):
        table = read_table(path)
        other = "mask" if table.own == 0 else "depth"
        both = Table(f"{table.name}+{other}", table.task, table.keys, table.values, table.seconds, table.seeds)
        found += [table, both]
    return [table for table in found if not only or table.name in only]
