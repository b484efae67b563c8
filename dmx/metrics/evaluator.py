"""All metrics of a data set's kind at once, over any number of batches."""

import math
from collections import defaultdict

import torch
from torch import Tensor

from dmx.errors import did_you_mean
from dmx.metrics.pixels import DepthPixels, MaskPixels
from dmx.quartet import Batch, DepthSpec, Prediction
from dmx.registry import Component, depth_metrics, mask_metrics

FORMS = {
    "pooled": "sums over all known pixels of all samples, divided once",
    "per_image": "mean over the samples in which it is defined",
}


def components(spec: DepthSpec) -> dict[str, Component]:
    """The metrics that are defined for `spec`, by `task/name`."""
    masks = {f"mask/{name}": component for name, component in mask_metrics.items()}
    depths = {f"depth/{name}": c for name, c in depth_metrics.items() if spec.kind in c.facts["kinds"]}
    return masks | depths


def names(spec: DepthSpec) -> tuple[str, ...]:
    """The full names of all metrics that are defined for `spec`: `mask/iou_pooled`, `mask/iou_per_image`, ..."""
    return tuple(f"{name}_{form}" for name in components(spec) for form in FORMS)


def definitions(spec: DepthSpec) -> dict[str, str]:
    """What each full name means, as text that is equal exactly where values may be compared.

    >>> from dmx.metrics import definitions
    >>> definitions(DepthSpec("relative", 0.0, 1.0))["depth/rmse_pooled"]
    'sqrt(mean (y - t)^2); sums over all known pixels of all samples, divided once; version 1'
    """
    return {
        f"{name}_{form}": f"{component.facts['equation']}; {meaning}; version {component.facts['version']}"
        for name, component in components(spec).items()
        for form, meaning in FORMS.items()
    }


def higher_is_better(name: str) -> bool:
    """Whether a greater value of the metric with this full name is the better one.

    Raises:
        ValueError: There is no such metric.
    """
    known = {
        f"{task}/{metric}_{form}": component
        for task, registry in (("mask", mask_metrics), ("depth", depth_metrics))
        for metric, component in registry.items()
        for form in FORMS
    }
    if name not in known:
        raise ValueError(f"no metric '{name}'; {did_you_mean(name, known)}")
    return bool(known[name].facts["higher_is_better"])


class Evaluator:
    """Gathers each sample's sums of every metric, and divides once at the end.

    Updating neither waits for the device nor reads from it. Every sample counts once, in whatever batch it comes.

    Args:
        spec: The data set's depth; decides which metrics are defined.
    """

    def __init__(self, spec: DepthSpec) -> None:
        self.components = components(spec)
        self.sums: dict[str, list[Tensor]] = defaultdict(list)

    @torch.no_grad()
    def update(self, prediction: Prediction, batch: Batch) -> None:
        """Take in a batch and what the network said of it."""
        if prediction.depth.is_mps:  # has no float64
            cpu = torch.device("cpu")
            prediction = Prediction(prediction.mask_logits.to(cpu), prediction.depth.to(cpu))
            batch = batch.to(cpu)
        pixels = {"mask": MaskPixels.of(prediction, batch), "depth": DepthPixels.of(prediction, batch)}
        for name, component in self.components.items():
            self.sums[name].append(component.function(pixels[name.partition("/")[0]]))

    def compute(self) -> dict[str, float | None]:
        """The value of every metric by its full name; None where it is undefined or not a finite number."""
        values: dict[str, float | None] = {f"{name}_{form}": None for name in self.components for form in FORMS}
        for name, batches in self.sums.items():
            finish = self.components[name].facts["finish"]
            sums = torch.cat(batches).cpu()
            defined = sums[:, -1] != 0  # true for NaN: a sample with a NaN prediction is not left out
            values[f"{name}_pooled"] = finite(finish(sums.sum(0)))
            values[f"{name}_per_image"] = finite(finish(sums)[defined].mean())
        return values


def finite(value: Tensor) -> float | None:
    """The number, or None where it is NaN or infinite."""
    number = float(value)
    return number if math.isfinite(number) else None
