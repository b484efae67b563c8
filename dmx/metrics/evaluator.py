"""Evaluation of all metrics for a data set's kind of depth, over any number of batches."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dmx.errors import did_you_mean
from dmx.metrics.pixels import NO_REFERENCE, DepthPixels, MaskPixels, ReferenceMaps
from dmx.quartet import Batch, DepthSpec, Prediction
from dmx.registry import METRICS, Component
from dmx.sample_table import FINISHES, Meaning, SampleTable

FORMS = {
    "pooled": "sums over all known pixels of all samples, divided once",
    "per_image": "mean over the samples in which it is defined",
}


def components(spec: DepthSpec, *, thorough: bool = False) -> dict[str, Component]:
    """The metrics that are defined for `spec`, by `task/name`; with those too slow for every epoch if `thorough`."""
    return {
        f"{task}/{name}": component
        for task, registry in METRICS.items()
        for name, component in registry.items()
        if (thorough or not component.facts.get("thorough")) and spec.kind in component.facts.get("kinds", (spec.kind,))
    }


def forms(component: Component) -> tuple[str, ...]:
    """The reductions over samples that a metric supports; a metric of a whole picture cannot be pooled."""
    known: tuple[str, ...] = component.facts.get("forms", tuple(FORMS))
    return known


def names(spec: DepthSpec) -> tuple[str, ...]:
    """The full names of all metrics that are defined for `spec`: `mask/iou_pooled`, `mask/iou_per_image`, ..."""
    return tuple(definitions(spec))


def definitions(spec: DepthSpec, *, thorough: bool = False) -> dict[str, str]:
    """The definition of each metric by full name; definitions are equal exactly if values are comparable.

    >>> from dmx.metrics import definitions
    >>> definitions(DepthSpec("relative", 0.0, 1.0))["depth/rmse_pooled"]
    'sqrt(mean (y - t)^2); sums over all known pixels of all samples, divided once; version 1'
    """
    return {
        f"{name}_{form}": f"{component.facts['equation']}; {FORMS[form]}; version {component.facts['version']}"
        for name, component in components(spec, thorough=thorough).items()
        for form in forms(component)
    }


def higher_is_better(name: str) -> bool:
    """Whether higher values of the metric with this full name are better.

    Raises:
        ValueError: There is no such metric.
    """
    known = {
        f"{task}/{metric}_{form}": component
        for task, registry in METRICS.items()
        for metric, component in registry.items()
        for form in forms(component)
    }
    if name not in known:
        raise ValueError(f"no metric '{name}'; {did_you_mean(name, known)}")
    return bool(known[name].facts["higher_is_better"])


class Evaluator:
    """Accumulates each sample's sums for every metric, and divides once at the end.

    Updates do not synchronize with the device. Results do not depend on the batch size.

    Args:
        spec: The data set's depth; determines which metrics are defined.
        thorough: Whether to include the metrics that are too slow for every epoch.
        task: `mask` or `depth` for the metrics of this task only.

    Raises:
        ValueError: The fact `finish` of a metric is not a key of `dmx.sample_table.FINISHES`.
    """

    def __init__(self, spec: DepthSpec, *, thorough: bool = False, task: str = "") -> None:
        known = components(spec, thorough=thorough)
        self.components = {name: component for name, component in known.items() if name.startswith(task)}
        for name, component in self.components.items():
            if component.facts["finish"] not in FINISHES:
                raise ValueError(
                    f"metric {name}: `finish` is {component.facts['finish']!r}, none of {', '.join(FINISHES)}"
                )
        self.sums: dict[str, list[Tensor]] = defaultdict(list)
        self.ids: list[str] = []

    @torch.no_grad()
    def update(self, prediction: Prediction, batch: Batch, reference: ReferenceMaps = NO_REFERENCE) -> None:
        """Add a batch and its prediction; without a `reference`, on its device, skill has no value."""
        if prediction.depth.is_mps:  # MPS has no float64
            cpu = torch.device("cpu")
            prediction = Prediction(prediction.mask_logits.to(cpu), prediction.depth.to(cpu))
            batch = batch.to(cpu)
        self.add(
            batch.ids,
            mask=MaskPixels.of(prediction, batch, reference),
            depth=DepthPixels.of(prediction, batch, reference),
        )

    def add(self, ids: Sequence[str], **pixels: MaskPixels | DepthPixels) -> None:
        """Add the pixels of these samples, by task."""
        self.ids += ids
        for name, component in self.components.items():
            task = name.partition("/")[0]
            given = (pixels["mask"], pixels["depth"]) if task == "joint" else (pixels[task],)
            self.sums[name].append(component.function(*given))

    def compute(self) -> dict[str, float | None]:
        """The value of every metric by its full name; None if it is undefined or not finite."""
        values: dict[str, float | None] = {}
        for name, component in self.components.items():
            sums = torch.cat(self.sums[name]).cpu() if self.ids else None
            for form in forms(component):
                values[f"{name}_{form}"] = None if sums is None else summed_up(component, form, sums)
        return values

    def samples(self, groups: Mapping[str, str]) -> SampleTable:
        """The metric sums of each sample, with its group from `groups`."""
        sums = {name: torch.cat(batches).cpu().numpy() for name, batches in self.sums.items()}
        meanings = {
            name: Meaning(component.facts["finish"], component.facts["higher_is_better"])
            for name, component in self.components.items()
        }
        return SampleTable(self.ids, [groups[id] for id in self.ids], sums, meanings)


def summed_up(component: Component, form: str, sums: Tensor) -> float | None:
    """The value over all samples from each sample's sums."""
    finish = FINISHES[component.facts["finish"]]
    if form == "pooled":
        return finite(finish(sums.sum(0)))
    defined = sums[:, -1] != 0  # true for NaN: a sample with a NaN prediction is not left out
    return finite(finish(sums)[defined].mean())


def finite(value: Tensor) -> float | None:
    """The number; None if it is NaN or infinite."""
    number = float(value)
    return number if math.isfinite(number) else None
