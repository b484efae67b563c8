"""The inputs of metrics: prediction and truth in float64, and sums over the known pixels of each sample.

A registered metric is a function from these pixels to the sums of each sample, (B, K) in float64. Its fact `finish`,
a key of `dmx.sample_table.FINISHES`, names the function that turns sums, of one sample or added over many, into the
value. A NaN in the prediction makes the sums NaN.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from dmx.quartet import Batch, Prediction

Sums = Float64[Tensor, "B K"]
Map = Float64[Tensor, "#B 1 H W"]


@dataclass(frozen=True)
class ReferenceMaps:
    """What is predicted of every picture without looking at it, and what skill is measured against.

    Attributes:
        depth: The mean of the training depths at each pixel, in the data set's unit; None: there is no reference.
        mask: The mean of the training masks at each pixel, in [0, 1]; None: there is no reference.
    """

    depth: Map | None = None
    mask: Map | None = None

    def to(self, device: torch.device) -> "ReferenceMaps":
        """Copy the maps to `device`; to the CPU instead of MPS, which has no float64."""
        place = torch.device("cpu") if device.type == "mps" else device
        return ReferenceMaps(*(None if map is None else map.to(place) for map in (self.depth, self.mask)))


NO_REFERENCE = ReferenceMaps()


def total(x: Float64[Tensor, "B 1 H W"], valid: Bool[Tensor, "B 1 H W"]) -> Float64[Tensor, "B"]:
    """The sum of x over each sample's valid pixels."""
    return torch.where(valid, x, 0).sum((1, 2, 3))


@dataclass(frozen=True)
class DepthPixels:
    """Predicted depth `y` and true depth `t` in the data set's unit; `valid` where `t` is known.

    `r` is the reference's depth; None if there is no reference.
    """

    y: Float64[Tensor, "B 1 H W"]
    t: Float64[Tensor, "B 1 H W"]
    valid: Bool[Tensor, "B 1 H W"]
    r: Map | None = None

    @classmethod
    def of(cls, prediction: Prediction, batch: Batch, reference: ReferenceMaps = NO_REFERENCE) -> "DepthPixels":
        """The pixels of a batch."""
        return cls(prediction.depth.double(), batch.depth.double(), batch.valid, reference.depth)

    @cached_property
    def log_ratio(self) -> Float64[Tensor, "B 1 H W"]:
        """The difference ln y - ln t; not finite unless both depths are above 0."""
        return self.y.log() - self.t.log()

    @cached_property
    def worse_ratio(self) -> Float64[Tensor, "B 1 H W"]:
        """max(y / t, t / y), 1 or more; NaN unless both depths are above 0."""
        greater = torch.maximum(self.y / self.t, self.t / self.y)
        return torch.where((self.y > 0) & (self.t > 0), greater, torch.nan)

    def mean_sums(self, x: Float64[Tensor, "B 1 H W"]) -> Float64[Tensor, "B 2"]:
        """Each sample's sum of x and number of pixels, for a mean."""
        return torch.stack([total(x, self.valid), self.valid.sum((1, 2, 3)).double()], dim=1)


@dataclass(frozen=True)
class MaskPixels:
    """Predicted probability `p` = σ(z), predicted mask `hard` and true mask `g`; `valid` where `g` is known.

    `hard` is 1 where p > 0.5, that is where the logit z > 0, and NaN where z is NaN. `r` is the reference's
    probability; None if there is no reference.
    """

    p: Float64[Tensor, "B 1 H W"]
    hard: Float64[Tensor, "B 1 H W"]
    g: Float64[Tensor, "B 1 H W"]
    valid: Bool[Tensor, "B 1 H W"]
    r: Map | None = None

    @classmethod
    def of(cls, prediction: Prediction, batch: Batch, reference: ReferenceMaps = NO_REFERENCE) -> "MaskPixels":
        """The pixels of a batch."""
        z = prediction.mask_logits.double()
        hard = torch.where(z.isnan(), z, (z > 0).double())
        return cls(z.sigmoid(), hard, batch.mask.double(), batch.mask_valid, reference.mask)

    def sums(self, *terms: Float64[Tensor, "B 1 H W"]) -> Float64[Tensor, "B K"]:
        """Each sample's sum of every term."""
        return torch.stack([total(term, self.valid) for term in terms], dim=1)
