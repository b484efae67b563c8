"""Histograms of the mask probability over object and rest: thresholds, precision and recall, calibration."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from dmx.quartet import Batch, Prediction

BINS = 300
"""Number of bins of the probability; bin k has k / 300 < p <= (k + 1) / 300, and the first includes p = 0."""
CALIBRATION_BINS = 15  # as in the tables of Guo et al. 2017


@dataclass(frozen=True)
class Probabilities:
    """Histogram of pixels by probability; histograms of several batches can be added.

    Attributes:
        counts: Known pixels of the rest (row 0) and of the object (row 1).
        mass: The sum of their probabilities.
    """

    counts: Int64[Tensor, "2 300"]
    mass: Float64[Tensor, "300"]

    @classmethod
    def of(cls, prediction: Prediction, batch: Batch) -> "Probabilities":
        """The histogram of a batch, on its device; NaN is not counted."""
        p = prediction.mask_logits.double().sigmoid()
        known = batch.mask_valid & ~p.isnan()
        p, g = p[known], batch.mask[known] > 0.5
        bins = (p * BINS).ceil().long().sub(1).clamp(0, BINS - 1)
        counts = torch.bincount(bins + BINS * g, minlength=2 * BINS).reshape(2, BINS)
        return cls(counts, torch.zeros(BINS, dtype=torch.float64, device=p.device).index_add_(0, bins, p))

    def __add__(self, other: "Probabilities") -> "Probabilities":
        return Probabilities(self.counts + other.counts, self.mass + other.mass)

    @cached_property
    def positives(self) -> Float64[Tensor, "2 300"]:
        """The number of pixels of the rest and of the object with p > k / 300, for every k."""
        return self.counts.flip(1).cumsum(1).flip(1).double()

    @property
    def thresholds(self) -> Float64[Tensor, "300"]:
        """K / 300."""
        return torch.arange(BINS, dtype=torch.float64) / BINS

    @property
    def precision(self) -> Float64[Tensor, "300"]:
        """TP / (TP + FP) at each threshold; 1 where nothing is predicted."""
        false, hits = self.positives
        return torch.where(false + hits > 0, hits / (false + hits), 1.0)

    @property
    def recall(self) -> Float64[Tensor, "300"]:
        """TP / (TP + FN) at each threshold; NaN without an object."""
        return self.positives[1] / self.counts[1].sum()

    @property
    def iou(self) -> Float64[Tensor, "300"]:
        """TP / (TP + FP + FN) at each threshold, pooled; NaN without object and prediction."""
        false, hits = self.positives
        return torch.div(hits, false + self.counts[1].sum())

    def curve(self) -> tuple[list[int], list[int], tuple[int, int]]:
        """At thresholds k / 100: pixels of the object above, pixels of the rest above, and the totals of both."""
        false, hits = self.positives[:, :: BINS // 100].long().tolist()
        rest, objects = self.counts.sum(1).tolist()
        return hits, false, (objects, rest)

    @property
    def best_threshold(self) -> float | None:
        """The threshold of the highest pooled IoU, the middle one of ties; None without an object."""
        if not int(self.counts[1].sum()):
            return None
        best = (self.iou == self.iou.max()).nonzero()[:, 0]
        return float(self.thresholds[best[len(best) // 2]])

    def iou_at(self, threshold: float) -> float:
        """Pooled IoU at a multiple of 1 / 300."""
        return float(self.iou[round(threshold * BINS)])

    @property
    def calibration(self) -> Float64[Tensor, "3 15"]:
        """For 15 bins of p: number of pixels, mean p, share of the object; the latter two NaN for an empty bin."""
        counts = self.counts.reshape(2, CALIBRATION_BINS, -1).sum(2).double()
        n = counts.sum(0)
        return torch.stack([n, self.mass.reshape(CALIBRATION_BINS, -1).sum(1) / n, counts[1] / n])

    @property
    def calibration_error(self) -> float | None:
        """Expected calibration error Σ n_b / n |share_b - p̄_b| (Guo et al. 2017, eq. 3, of the object's probability).

        In [0, 1]; None without pixels.
        """
        n, confidence, share = self.calibration
        if not int(n.sum()):
            return None
        return float((n * (share - confidence).abs()).nansum() / n.sum())
