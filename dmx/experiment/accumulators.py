"""One-pass accumulators of an evaluation: metrics by alignment, depth range and mask size, and the worst samples."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, UInt8

from dmx.experiment.references import Judge, Predictors
from dmx.machine import return_memory
from dmx.metrics import NO_REFERENCE, Evaluator, Probabilities, ReferenceMaps, definitions, higher_is_better
from dmx.metrics.alignment import Alignment, aligned
from dmx.metrics.evaluator import components, finite
from dmx.metrics.pixels import DepthPixels, MaskPixels
from dmx.metrics.uncertainty import Uncertainty
from dmx.models.ensemble import Combined
from dmx.quartet import Batch, DepthSpec, Prediction
from dmx.sample_table import FINISHES, Meaning, SampleTable
from dmx.tracking.panel import GAP, SCALE, enlargement, header, row, scale, stack, true_range

SIZES = {"no object": 0.0, "under 1 %": 0.01, "1 to 5 %": 0.05, "5 to 20 %": 0.2, "over 20 %": float("inf")}
"""The upper limit of each size class, as a share of the picture."""
WHOLE = ("checkerboard",)
"""Left out by depth range: it compares neighbouring pixels, which a range of depth separates."""

Range = tuple[float, float]
Row = dict[str, float | int | str | None]


def ranges_of(spec: DepthSpec) -> list[Range]:
    """The depth ranges for stratified metrics: octaves of metric depth, or quarters of relative depth."""
    if spec.kind == "relative":
        return [(k / 4, (k + 1) / 4) for k in range(4)]
    edges = [spec.low]
    while edges[-1] < spec.high:
        edges.append(min(spec.high, 2.0 ** (int(torch.tensor(edges[-1]).log2().floor()) + 1)))
    return list(pairwise(edges))


@dataclass(frozen=True)
class StratifiedMetrics:
    """Sums over the pixels of each depth range, and over the samples of each mask size.

    Attributes:
        ranges: Half-open depth ranges; each includes its low end, the last one also its high end.
        spec: The kind, range and direction of depth.
    """

    ranges: Sequence[Range]
    spec: DepthSpec
    depth: dict[Range, dict[str, torch.Tensor]] = field(default_factory=lambda: defaultdict(dict))
    mask: dict[str, dict[str, torch.Tensor]] = field(default_factory=lambda: defaultdict(dict))
    counts: dict[Any, int] = field(default_factory=lambda: defaultdict(int))

    def take(self, prediction: Prediction, batch: Batch, reference: ReferenceMaps = NO_REFERENCE) -> None:
        """Add a batch."""
        known = {name: c.function for name, c in components(self.spec).items()}
        pixels = DepthPixels.of(prediction, batch, reference)
        for span in self.ranges:
            low, high = span
            last = span == self.ranges[-1]
            inside = pixels.valid & (pixels.t >= low) & ((pixels.t <= high) if last else (pixels.t < high))
            there = replace(pixels, valid=inside)
            self.counts[span] += int(inside.sum())
            for name, function in known.items():
                if name.startswith("depth/") and name.removeprefix("depth/") not in WHOLE:
                    self.depth[span][name] = function(there).sum(0) + self.depth[span].get(name, 0)
        masks = MaskPixels.of(prediction, batch, reference)
        share = (batch.mask * batch.mask_valid).sum((1, 2, 3)) / batch.mask_valid.sum((1, 2, 3)).clamp(min=1)
        sizes = [size_of(float(one)) for one in share]
        for name, function in known.items():
            if name.startswith("mask/"):
                for size, sums in zip(sizes, function(masks), strict=True):
                    self.mask[size][name] = sums + self.mask[size].get(name, 0)
        for size in sizes:
            self.counts[size] += 1

    def by_depth(self) -> Iterator[Row]:
        """One row for each range: its ends, its number of pixels, and every depth metric over them."""
        for low, high in self.ranges:
            values = self._finished(self.depth.get((low, high), {}))
            yield {"low": low, "high": high, "pixels": self.counts[low, high], **values}

    def by_size(self) -> Iterator[Row]:
        """One row for each size that occurs: its number of samples, and every mask metric pooled over them."""
        for size in SIZES:
            if size in self.mask:
                yield {"object": size, "samples": self.counts[size], **self._finished(self.mask[size])}

    def _finished(self, sums: dict[str, torch.Tensor]) -> dict[str, float | None]:
        known = components(self.spec)
        return {
            f"{name}_pooled": finite(FINISHES[known[name].facts["finish"]](total.cpu())) for name, total in sums.items()
        }


def size_of(share: float) -> str:
    """The size class of an object that takes this share of the picture."""
    if share == 0:
        return "no object"
    return next(name for name, end in SIZES.items() if name != "no object" and share <= end)


WORST_SHOWN = 4


@dataclass(frozen=True)
class RankedSample:
    """A sample with its metric value and its panel row; samples are ranked by `badness`."""

    badness: float
    id: str
    value: float
    picture: UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True)
class WorstSamples:
    """The worst samples by a mask metric and by a depth metric, for depth as in `spec`."""

    spec: DepthSpec
    found: dict[str, list[RankedSample]] = field(default_factory=dict)

    @property
    def metrics(self) -> tuple[str, str]:
        """The mask metric and the depth metric that rank samples."""
        return "mask/iou", "depth/abs_rel" if self.spec.kind == "metric" else "depth/rmse"

    def take(self, prediction: Prediction, batch: Batch) -> None:
        """Add a batch; panel rows are drawn only for samples that are among the worst so far."""
        evaluator = Evaluator(self.spec)
        evaluator.update(prediction, batch)
        samples = evaluator.samples(dict.fromkeys(batch.ids, ""))
        for metric in self.metrics:
            sign = -1 if higher_is_better(f"{metric}_pooled") else 1
            kept = self.found.setdefault(metric, [])
            for i, value in enumerate(samples.values(metric)):
                bad = float(sign * value)
                if np.isnan(bad) or (len(kept) == WORST_SHOWN and bad <= kept[-1].badness):
                    continue
                kept.append(RankedSample(bad, batch.ids[i], float(value), self._row(batch, prediction, i)))
                kept.sort(key=lambda sample: -sample.badness)
                del kept[WORST_SHOWN:]

    def _row(self, batch: Batch, prediction: Prediction, i: int) -> UInt8[np.ndarray, "height width 3"]:
        """The panel row of a sample, with the scale of its depth at the end."""
        cells = row(batch, prediction, self.spec, i)
        ends = true_range(batch.depth[i, 0].float().cpu().numpy(), batch.valid[i, 0].cpu().numpy(), self.spec)
        return stack([*cells, scale(len(cells[0]), *ends, self.spec)], axis=1)

    def panel(self, metric: str) -> UInt8[np.ndarray, "height width 3"] | None:
        """The worst samples by a metric, worst first, as one picture; None if there are none."""
        worst = self.found.get(metric, [])
        if not worst:
            return None
        grid = stack([sample.picture for sample in worst], axis=0)
        beside = GAP + SCALE * enlargement(len(worst[0].picture))
        return np.concatenate([header(grid.shape[1], beside), grid], axis=0)


class EvaluationAccumulators:
    """All accumulators of an evaluation.

    Args:
        predicted: The depth spec of the predictions.
        true: The depth spec of the truth.
        alignments: The alignments; the first one is that of strata and of the worst samples.
        references: The references of the data, with their maps on the device; without them skill has no value.
    """

    def __init__(
        self,
        predicted: DepthSpec,
        true: DepthSpec,
        alignments: tuple[Alignment, ...],
        references: Predictors | None = None,
    ) -> None:
        self.predicted, self.true, self.alignments = predicted, true, alignments
        self.evaluators = {
            alignment: Evaluator(self.true, thorough=alignment == self.alignments[0]) for alignment in self.alignments
        }
        self.parts: list[Probabilities] = []
        self.strata = StratifiedMetrics(ranges_of(self.true), self.true)
        self.worst = WorstSamples(self.true)
        self.uncertainty: Uncertainty | None = None
        self.reference = references.maps if references is not None else NO_REFERENCE
        self.judge = Judge(references, true, thorough=True) if references is not None else None

    @property
    def probabilities(self) -> Probabilities:
        """The histogram of mask probabilities over all batches."""
        first, *others = self.parts
        return sum(others, first)

    def take(self, batch: Batch, prediction: Prediction) -> None:
        """Add a batch."""
        self.parts.append(Probabilities.of(prediction, batch))
        pixels = DepthPixels.of(prediction, batch)
        for alignment, evaluator in self.evaluators.items():
            brought = aligned(pixels, alignment, self.predicted, self.true)
            there = Prediction(prediction.mask_logits, brought.y)
            reference = self._aligned(batch, alignment)
            evaluator.update(there, batch, reference)
            if alignment == self.alignments[0]:
                self.strata.take(there, batch, reference)
                self.worst.take(there, batch)
        if isinstance(prediction, Combined) and self.alignments[0] == "none":
            self.uncertainty = self.uncertainty or Uncertainty()
            self.uncertainty.take(prediction, prediction.mask_spread, prediction.depth_spread, batch)
        if self.judge is not None:
            self.judge.take(batch)
        return_memory()

    def _aligned(self, batch: Batch, alignment: Alignment) -> ReferenceMaps:
        """The reference maps, with depth aligned to the truth as the prediction's is, so that neither is favoured."""
        depth = self.reference.depth
        if depth is None or alignment == "none":
            return self.reference
        pixels = DepthPixels(depth.expand(len(batch), -1, -1, -1), batch.depth.double(), batch.valid)
        return replace(self.reference, depth=aligned(pixels, alignment, self.true, self.true).y)

    def results(self, groups: Mapping[str, str]) -> dict[str, Any]:
        """What was measured, as the fields of an `Evaluation`; `groups` has the group of each sample."""
        return {
            "values": self.values(),
            "samples": self.samples(groups),
            "probabilities": self.probabilities,
            "strata": self.strata,
            "worst": self.worst,
            "references": self.judge.values() if self.judge is not None else {},
            "uncertainty": self.uncertainty,
        }

    def values(self) -> dict[str, float | None]:
        """Every metric: those of the mask once, those of depth for each alignment."""
        found: dict[str, float | None] = {}
        for alignment, evaluator in self.evaluators.items():
            for name, value in evaluator.compute().items():
                found.setdefault(named(name, alignment), value)
        return found | {"mask/calibration_error_pooled": self.probabilities.calibration_error}

    def definitions(self) -> dict[str, str]:
        """The definition of each metric in `values`."""
        found: dict[str, str] = {}
        for alignment in self.alignments:
            said = "" if alignment == "none" else f"; depth of each picture aligned: {alignment.replace('_', ' ')}"
            for name, meaning in definitions(self.true, thorough=alignment == self.alignments[0]).items():
                full = named(name, alignment)
                found.setdefault(full, meaning if full == name else meaning + said)
        return found

    def samples(self, groups: Mapping[str, str]) -> SampleTable:
        """Metrics of each sample: those of the mask once, those of depth for each alignment."""
        first, *others = (self.evaluators[alignment].samples(groups) for alignment in self.alignments)
        sums: dict[str, Float64[np.ndarray, "N K"]] = {}
        meanings: dict[str, Meaning] = {}
        for alignment, table in zip(self.alignments, (first, *others), strict=True):
            for name in table.sums:
                full = named(name, alignment)
                sums.setdefault(full, table.sums[name])
                meanings.setdefault(full, table.meanings[name])
        return SampleTable(first.ids, first.groups, sums, meanings)


def named(metric: str, alignment: Alignment) -> str:
    """The name of a metric with the alignment of depth; those of the mask have none."""
    plain = alignment == "none" or metric.startswith("mask/")
    return metric if plain else metric.replace("/", f"_{alignment}/", 1)
