"""Searches that know all their trials beforehand: every combination, or points that fill the space evenly."""

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

MOST = 100_000
"""Combinations of a grid, as many as a study may have trials."""


def design(config: StudyConfig, space: Space) -> list[dict[str, Any]] | None:
    """The values of each trial; None where the sampler proposes one after the other.

    Raises:
        ConfigError: There are fewer combinations than trials, or endlessly many.
    """
    if config.sampler.name == "qmc":
        return sobol(space, config.trials, config.seed)
    if config.sampler.name != "grid":
        return None
    endless = [dimension.path for dimension in space.dimensions if count(dimension) is None]
    problems = [Problem(f"search.{path}", "a grid needs a list, or a range with a `step`") for path in endless]
    combinations = [] if problems else list(islice(grid(space.dimensions, {}), MOST + 1))
    if len(combinations) > MOST:
        problems = [
            Problem("search", f"the grid has more than {MOST:,} combinations; take fewer values or larger steps")
        ]
    elif not problems and len(combinations) < config.trials:
        what = f"the grid has {len(combinations)} combinations, but trials is {config.trials}"
        problems = [Problem("trials", f"{what}; lower it to {len(combinations)}")]
    if problems:
        raise ConfigError(f"study '{config.name}'", problems)
    return combinations


def grid(dimensions: tuple[Dimension, ...], drawn: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every combination of what applies, the last dimension fastest."""
    if not dimensions:
        yield dict(drawn)
        return
    first, *rest = dimensions
    if not first.applies(drawn):
        yield from grid(tuple(rest), drawn)
        return
    for number in range(count(first) or 0):
        yield from grid(tuple(rest), {**drawn, first.path: nth(first, number)})


def step_of(dimension: Dimension) -> float | None:
    """From one value of a range to the next; None where it has no steps."""
    search = dimension.search
    assert not isinstance(search, Choice)
    return search.step or (1 if dimension.whole and not search.log else None)


def count(dimension: Dimension) -> int | None:
    """How many values a dimension has; None where there are endlessly many."""
    search = dimension.search
    if isinstance(search, Choice):
        return len(search.values)
    step = step_of(dimension)
    return None if step is None else math.floor(min((search.high - search.low) / step + 1e-9, 2**53)) + 1


def nth(dimension: Dimension, number: int) -> Any:
    """One of the values of a dimension that has so many: there may be too many to list them."""
    search = dimension.search
    if isinstance(search, Choice):
        return search.values[number]
    value = search.low + number * (step_of(dimension) or 1)
    return int(value) if dimension.whole else value


def sobol(space: Space, trials: int, seed: int) -> list[dict[str, Any]]:
    """Trial k at point k of a scrambled Sobol sequence; what does not apply leaves its coordinate unused."""
    found = []
    engine = SobolEngine(len(space.dimensions), scramble=True, seed=seed)  # type: ignore[no-untyped-call]
    for point in engine.draw(trials, dtype=torch.float64):
        values: dict[str, Any] = {}
        for u, dimension in zip(point, space.dimensions, strict=True):
            if dimension.applies(values):
                values[dimension.path] = at(dimension, float(u))
        found.append(values)
    return found


def at(dimension: Dimension, u: float) -> Any:
    """The value at the share u in [0, 1) of a dimension."""
    values = count(dimension)
    if values is not None:
        return nth(dimension, int(u * values))
    search = dimension.search
    assert not isinstance(search, Choice)
    if search.log:
        value = search.low * (search.high / search.low) ** u
        return round(value) if dimension.whole else value
    return search.low + u * (search.high - search.low)
