"""What predicted standard deviations are worth: whether they tell great errors from small ones, and have their size.

For each picture, with the errors e of its n known pixels and their predicted standard deviations s:

    S(f) = sqrt(mean e² of the pixels without the f n of greatest s) / sqrt(mean e² of all)
    O(f) = the same without the f n of greatest |e|: the best that any s can do
    ause = mean over f of S(f) - O(f)    area under the sparsification error (Ilg et al. 2018, "Uncertainty estimates
                                         and multi-hypotheses networks for optical flow"); 0 is best
    aurg = mean over f of 1 - S(f)       area under the random gain (Poggi et al. 2020, "On the uncertainty of
                                         self-supervised monocular depth estimation"); 0 is chance, more is better

with f = 0, 1/20, ..., 19/20; the mean over pictures. For the mask, e is the difference of probability and truth. Of
depth also, over the known pixels of all pictures:

    error_to_spread   = sqrt(Σ e² / Σ s²)                 1 where the spread has the size of the errors
    calibration_error = mean over p of |share of pixels with |e| <= z s - p|, where a normal variable lies within z
                        standard deviations with probability p = 0.05, 0.1, ..., 0.95 (Kuleshov et al. 2018, "Accurate
                        uncertainties for deep learning using calibrated regression"); 0 is best
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt
from statistics import NormalDist

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from scipy.special import stdtrit
from torch import Tensor

from dmx.metrics.evaluator import finite
from dmx.quartet import Batch, Prediction

STEPS = 20
LEFT_OUT = np.arange(STEPS) / STEPS
"""The fractions f of a picture's pixels."""
LEVELS = np.arange(1, STEPS) / STEPS
"""The probabilities p of the calibration."""
Z = torch.tensor([NormalDist().inv_cdf((1 + p) / 2) for p in LEVELS.tolist()], dtype=torch.float64)
Curve = Float64[np.ndarray, "20"]
Planes = Float[Tensor, "B 1 H W"]
Known = Bool[Tensor, "B 1 H W"]


def remaining(e: Float64[Tensor, "N"], by: Float[Tensor, "N"]) -> Curve:
    """The RMSE without the fraction f of the pixels with the greatest `by`, over the RMSE of all, for each f."""
    kept = e[by.argsort(stable=True)].square().cumsum(0)
    count = len(e) - (torch.from_numpy(LEFT_OUT) * len(e)).long()
    mean = kept[count - 1] / count
    curve: Curve = (mean / mean[0]).sqrt().numpy()
    return curve


@dataclass
class Uncertainty:
    """Accumulates over the batches of an evaluation.

    Attributes:
        curves: S and O of each picture that has errors, by task.
        ids: The samples of those pictures.
    """

    curves: dict[str, list[tuple[Curve, Curve]]] = field(default_factory=lambda: {"mask": [], "depth": []})
    ids: dict[str, list[str]] = field(default_factory=lambda: {"mask": [], "depth": []})
    _within: Float64[Tensor, "19"] = field(default_factory=lambda: torch.zeros(len(LEVELS), dtype=torch.float64))
    _sums: Float64[Tensor, "3"] = field(default_factory=lambda: torch.zeros(3, dtype=torch.float64))

    def take(self, prediction: Prediction, mask_spread: Planes, depth_spread: Planes, batch: Batch) -> None:
        """Add a batch with its prediction and the standard deviations of mask and depth."""
        batch = batch.to(torch.device("cpu"))  # MPS has no float64
        depth, logits, s = (one.cpu().double() for one in (prediction.depth, prediction.mask_logits, depth_spread))
        e = depth - batch.depth
        self._sort("depth", batch.ids, (e, s, batch.valid))
        self._sort("mask", batch.ids, (logits.sigmoid() - batch.mask, mask_spread.cpu(), batch.mask_valid))
        e, s = e[batch.valid], s[batch.valid]
        self._within += (e.abs() <= Z[:, None] * s).sum(1)
        self._sums += torch.stack([e.square().sum(), s.square().sum(), torch.tensor(len(e)).to(e)])

    def _sort(self, task: str, ids: tuple[str, ...], planes: tuple[Float64[Tensor, "B 1 H W"], Planes, Known]) -> None:
        """Add the curves of errors and standard deviations at the known pixels."""
        for name, error, spread, known in zip(ids, *planes, strict=True):
            here = error[known]
            if here.any():
                self.ids[task].append(name)
                self.curves[task].append((remaining(here, spread[known]), remaining(here, here.abs())))

    def curve(self, task: str) -> tuple[Curve, Curve] | None:
        """The means of S and O over the pictures; None if no picture has errors."""
        if not self.curves[task]:
            return None
        s, o = np.mean(self.curves[task], axis=0)
        return s, o

    def gain_interval(self, task: str, groups: Mapping[str, str]) -> tuple[float, float] | None:
        """The 95 % interval of aurg over the means of groups (Student's t); None with fewer than two groups.

        Args:
            task: `mask` or `depth`.
            groups: The group of each sample.
        """
        gains: dict[str, list[float]] = {}
        for name, (curve, _) in zip(self.ids[task], self.curves[task], strict=True):
            gains.setdefault(groups[name], []).append(float(1 - curve.mean()))
        if len(gains) < 2:
            return None
        means = np.array([np.mean(each) for each in gains.values()])
        half = float(stdtrit(len(means) - 1, 0.975)) * float(means.std(ddof=1)) / sqrt(len(means))
        return float(means.mean()) - half, float(means.mean()) + half

    @property
    def coverage(self) -> Float64[np.ndarray, "19"]:
        """The share of pixels whose depth error lies within the interval of each probability in `LEVELS`."""
        share: Float64[np.ndarray, "19"] = (self._within / self._sums[2].clamp(min=1)).numpy()
        return share

    def values(self) -> dict[str, float | None]:
        """The numbers of the equations above by name; None where one is undefined."""
        found: dict[str, float | None] = {}
        for task in self.curves:
            mean = self.curve(task)
            found[f"{task}/ause_per_image"] = None if mean is None else float((mean[0] - mean[1]).mean())
            found[f"{task}/aurg_per_image"] = None if mean is None else float(1 - mean[0].mean())
        error, spread, pixels = self._sums
        found["depth/error_to_spread_pooled"] = finite((error / spread).sqrt())
        missed = float(np.abs(self.coverage - LEVELS).mean())
        found["depth/spread_calibration_error_pooled"] = missed if pixels else None
        return found
