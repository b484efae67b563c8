"""Designs fix the values of all trials beforehand: the combinations of a grid, or the points of a Sobol sequence."""

import math
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import torch
from torch.quasirandom import SobolEngine

from dmx.config import StudyConfig
from dmx.config.space import Dimension, Space
from dmx.errors import ConfigError, Problem
from dmx.registry import Choice

MAX_COMBINATIONS = 100_000
"""The maximum number of combinations of a grid, equal to the maximum number of trials."""


def design(config: StudyConfig, space: Space) -> list[dict[str, Any]] | None:
    """The values of every trial of a design: the combinations of a grid, or the points of a Sobol sequence.

    Returns:
        The values; None if the sampler suggests trials one after the other.

    Raises:
        ConfigError: There are fewer combinations than trials, or infinitely many.
    """
    if config.sampler.name == "qmc":
        return sobol(space, config.trials, config.seed)
    if config.sampler.name != "grid":
        return None
    endless = [dimension.path for dimension in space.dimensions if count(dimension) is None]
    problems = [Problem(f"search.{path}", "a grid needs a list, or a range with a `step`") for path in endless]
    combinations = [] if problems else list(islice(grid(space.dimensions, {}), MAX_COMBINATIONS + 1))
    if len(combinations) > MAX_COMBINATIONS:
        what = f"the grid has more than {MAX_COMBINATIONS:,} combinations; take fewer values or larger steps"
        problems = [Problem("search", what)]
    elif not problems and len(combinations) < config.trials:
        what = f"the grid has {len(combinations)} combinations, but trials is {config.trials}"
        problems = [Problem("trials", f"{what}; lower it to {len(combinations)}")]
    if problems:
        raise ConfigError(f"study '{config.name}'", problems)
    return combinations


def grid(dimensions: tuple[Dimension, ...], values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every combination of the applicable dimensions; the last dimension varies fastest."""
    if not dimensions:
        yield dict(values)
        return
    first, *rest = dimensions
    if not first.applies(values):
        yield from grid(tuple(rest), values)
        return
    for number in range(count(first) or 0):
        yield from grid(tuple(rest), {**values, first.path: value_at_index(first, number)})


def combinations(dimensions: tuple[Dimension, ...]) -> Iterator[dict[str, Any]]:
    """Every combination of the dimensions; none where one of them has infinitely many values."""
    return iter(()) if any(count(dimension) is None for dimension in dimensions) else grid(dimensions, {})


def step_of(dimension: Dimension) -> float | None:
    """The step of a range; None if it is continuous."""
    search = dimension.search
    assert not isinstance(search, Choice)
    return search.step or (1 if dimension.whole and not search.log else None)


def count(dimension: Dimension) -> int | None:
    """The number of values of a dimension; None if there are infinitely many."""
    search = dimension.search
    if isinstance(search, Choice):
        return len(search.values)
    step = step_of(dimension)
    return None if step is None else math.floor(min((search.high - search.low) / step + 1e-9, 2**53)) + 1


def value_at_index(dimension: Dimension, number: int) -> Any:
    """The value at index `number` of a finite dimension, computed directly, as there may be too many for a list."""
    search = dimension.search
    if isinstance(search, Choice):
        return search.values[number]
    value = min(search.low + number * (step_of(dimension) or 1), search.high)
    return int(value) if dimension.whole else value


def sobol(space: Space, trials: int, seed: int) -> list[dict[str, Any]]:
    """The values of trial k from point k of a scrambled Sobol sequence; inapplicable dimensions skip a coordinate."""
    found = []
    engine = SobolEngine(len(space.dimensions), scramble=True, seed=seed)  # type: ignore[no-untyped-call]
    for point in engine.draw(trials, dtype=torch.float64):
        values: dict[str, Any] = {}
        for u, dimension in zip(point, space.dimensions, strict=True):
            if dimension.applies(values):
                values[dimension.path] = quantile(dimension, float(u))
        found.append(values)
    return found


def quantile(dimension: Dimension, u: float) -> Any:
    """The value of a dimension at the quantile u in [0, 1)."""
    values = count(dimension)
    if values is not None:
        return value_at_index(dimension, int(u * values))
    search = dimension.search
    assert not isinstance(search, Choice)
    if search.log:
        value = search.low * (search.high / search.low) ** u
        return round(value) if dimension.whole else value
    return search.low + u * (search.high - search.low)
