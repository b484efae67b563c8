"""A candidate for the default search, which `dmx` does not offer: rungs that adapt."""

from typing import Any

import numpy as np
from replay import DmxSearch, Job
from replay_statistics import alike
from replay_table import Table

from dmx.config.study import HalvingConfig

STARTUP = 10


class AdaptiveHalving(DmxSearch):
    """Halving whose first rung is the earliest at which the first `STARTUP` trials, run to their end, rank alike.

    Alike is a Spearman correlation of at least `least` between the best values until then and those at the end.
    """

    least = 0.7

    def __init__(self, table: Table, seed: int, **settings: Any) -> None:
        super().__init__(table, seed, pruner="none", **settings)
        self.curves: list[np.ndarray] = []

    def ends(self, job: Job, epoch: int) -> None:
        """See `Search`."""
        super().ends(job, epoch)
        if self.table.lengths[job.row] == self.table.task.epochs:
            self.curves.append(self.table.values[job.row])
        if len(self.curves) == STARTUP and self.config.pruner.name == "none":
            pruner = HalvingConfig(name="halving", min_epochs=self.first_rung())
            self.config = self.config.model_copy(update={"pruner": pruner})

    def first_rung(self) -> int:
        """The first rung, of those of halving; the last one where none ranks alike."""
        rungs, curves = [3**k for k in range(10) if 3**k < self.table.task.epochs], np.stack(self.curves)
        columns = [0, 1] if self.table.several else [self.table.own]
        least = np.min([alike(curves[:, :, column]) for column in columns], 0)
        return next((rung for rung in rungs if least[rung - 1] >= self.least), rungs[-1])
