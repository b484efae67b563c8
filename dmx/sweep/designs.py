"""Searches that know all their trials beforehand: every combination, or points that fill the space evenly."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.quasirandom import SobolEngine

from dmx.config import StudyConfig
from dmx.config.space import Dimension, Space
from dmx.errors import ConfigError, Problem
from dmx.registry import Choice


def design(config: StudyConfig, space: Space) -> list[dict[str, Any]] | None:
    """The values of each trial; None where the sampler proposes one after the other.

    Raises:
        ConfigError: There are fewer combinations than trials, or endlessly many.
    """
    if config.sampler.name == "qmc":
        return sobol(space, config.trials, config.seed)
    if config.sampler.name != "grid":
        return None
    endless = [dimension.path for dimension in space.dimensions if steps(dimension) is None]
    problems = [Problem(f"search.{path}", "a grid needs a list, or a range with a `step`") for path in endless]
    combinations = [] if problems else list(grid(space.dimensions, {}))
    if not problems and len(combinations) < config.trials:
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
    for value in (steps(first) or []) if first.applies(drawn) else [None]:
        yield from grid(tuple(rest), {**drawn, first.path: value} if first.applies(drawn) else drawn)


def steps(dimension: Dimension) -> list[Any] | None:
    """All values of a dimension; None where there are endlessly many."""
    search = dimension.search
    if isinstance(search, Choice):
        return list(search.values)
    step = search.step or (1 if dimension.whole and not search.log else None)
    if step is None:
        return None
    values = [search.low + i * step for i in range(math.floor((search.high - search.low) / step + 1e-9) + 1)]
    return [int(value) for value in values] if dimension.whole else values


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
    values = steps(dimension)
    if values is not None:
        return values[int(u * len(values))]
    search = dimension.search
    assert not isinstance(search, Choice)
    if search.log:
        value = search.low * (search.high / search.low) ** u
        return round(value) if dimension.whole else value
    return search.low + u * (search.high - search.low)
