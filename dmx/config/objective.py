"""The objective of a run: one validation metric and its direction."""

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import model_validator

from dmx.config.base import Frozen
from dmx.errors import did_you_mean
from dmx.registry import METRICS


def metric_direction(metric: str, *others: str) -> Literal["minimize", "maximize"]:
    """Look up the direction in which `metric` improves; `others` are further legal names, for the message.

    Raises:
        ValueError: `metric` is not the name of a validation metric.
    """
    known = {
        f"val/{task}/{name}_{form}": component
        for task, registry in METRICS.items()
        for name, component in registry.items()
        if not component.facts.get("thorough")
        for form in component.facts.get("forms", ("pooled", "per_image"))
    }
    if metric not in known:
        raise ValueError(f"no validation metric '{metric}'; {did_you_mean(metric, (*known, *others))}")
    return "maximize" if known[metric].facts["higher_is_better"] else "minimize"


COSTS = ("parameters", "multiply_adds", "memory_mb", "latency_ms")
"""Costs of a network that are known before training; lower is better."""


class Goal(Frozen):
    """What a study judges trials by, beside the objective of the experiment."""

    metric: str
    """A validation metric by its full name, or a cost: `parameters`, `multiply_adds`, `memory_mb`, `latency_ms`."""
    direction: Literal["minimize", "maximize"] | None = None
    """Follows from the metric."""
    at_least: float | None = None
    """A bound: it is enough to be no less, and what meets all bounds is ranked by the other objectives."""
    at_most: float | None = None
    """A bound: it is enough to be no more."""

    @model_validator(mode="before")
    @classmethod
    def _follow_metric(cls, data: Any) -> Any:
        given = {"metric": data} if isinstance(data, str) else dict(data) if isinstance(data, Mapping) else data
        if isinstance(given, dict) and isinstance(metric := given.get("metric"), str):
            own = "minimize" if metric in COSTS else metric_direction(metric, *COSTS)
            given["direction"] = given.get("direction") or own
        return given

    @model_validator(mode="after")
    def _bounded_on_its_better_side(self) -> "Goal":
        right, wrong = ("at_least", "at_most") if self.direction == "maximize" else ("at_most", "at_least")
        if getattr(self, wrong) is not None:
            better = "higher" if self.direction == "maximize" else "lower"
            raise ValueError(f"{wrong} does not go with {self.metric}, of which {better} is better; take {right}")
        return self

    @property
    def bound(self) -> float | None:
        """The value that is good enough; None without a bound."""
        return self.at_most if self.at_least is None else self.at_least

    def shortfall(self, value: float) -> float:
        """By how much a value misses the bound, as a share of the bound; 0 where it meets it or there is none."""
        if self.bound is None or value == self.bound:
            return 0.0
        if math.isnan(value):
            return math.inf
        missing = self.bound - value if self.direction == "maximize" else value - self.bound
        return max(0.0, missing) / (abs(self.bound) or 1.0)

    def __str__(self) -> str:
        """Its metric, with its bound if it has one."""
        sign = ">=" if self.direction == "maximize" else "<="
        return self.metric if self.bound is None else f"{self.metric} {sign} {self.bound:g}"


class Objective(Frozen):
    """What best weights, pruning, ranking and `train-best` go by. Losses differ between trials, metrics do not."""

    metric: str = "val/depth/rmse_pooled"
    """A validation metric by its full name."""
    direction: Literal["minimize", "maximize"] | None = None
    """Follows from the metric."""

    @model_validator(mode="before")
    @classmethod
    def _follow_metric(cls, data: Any) -> Any:
        given = {"metric": data} if isinstance(data, str) else dict(data) if isinstance(data, Mapping) else data
        if isinstance(given, dict) and isinstance(metric := given.get("metric", "val/depth/rmse_pooled"), str):
            given["direction"] = given.get("direction") or metric_direction(metric)
        return given

    def descending(self, value: float) -> float:
        """Return `value`, negated if higher is better, so that lower is always better."""
        return -value if self.direction == "maximize" else value

    def better(self, value: float, than: float) -> bool:
        """Whether `value` beats `than`."""
        return value > than if self.direction == "maximize" else value < than
