"""Pictures of the samples that came off worst."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import UInt8

from dmx.metrics import Evaluator, higher_is_better
from dmx.quartet import Batch, DepthSpec, Prediction
from dmx.tracking.panel import header, row, stack

COUNT = 4


@dataclass(frozen=True)
class Sight:
    """A sample with its value and a row of a panel."""

    badness: float
    id: str
    value: float
    picture: UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True)
class Worst:
    """The worst samples by the mask and by depth.

    Attributes:
        spec: How depth is to be read.
    """

    spec: DepthSpec
    found: dict[str, list[Sight]] = field(default_factory=dict)

    @property
    def metrics(self) -> tuple[str, str]:
        """By what a sample is bad."""
        return "mask/iou", "depth/abs_rel" if self.spec.kind == "metric" else "depth/rmse"

    def take(self, prediction: Prediction, batch: Batch) -> None:
        """Take in a batch; only rows of samples that are among the worst so far are drawn."""
        evaluator = Evaluator(self.spec)
        evaluator.update(prediction, batch)
        samples = evaluator.samples(dict.fromkeys(batch.ids, ""))
        for metric in self.metrics:
            sign = -1 if higher_is_better(f"{metric}_pooled") else 1
            kept = self.found.setdefault(metric, [])
            for i, value in enumerate(samples.values(metric)):
                bad = float(sign * value)
                if np.isnan(bad) or (len(kept) == COUNT and bad <= kept[-1].badness):
                    continue
                kept.append(Sight(bad, batch.ids[i], float(value), stack(row(batch, prediction, self.spec, i), axis=1)))
                kept.sort(key=lambda sight: -sight.badness)
                del kept[COUNT:]

    def panel(self, metric: str) -> UInt8[np.ndarray, "height width 3"] | None:
        """The worst by a metric, the worst first, in one picture; None where there are none."""
        sights = self.found.get(metric, [])
        if not sights:
            return None
        grid = stack([sight.picture for sight in sights], axis=0)
        return np.concatenate([header(grid.shape[1]), grid], axis=0)
