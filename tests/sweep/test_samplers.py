"""Every sampler on a mixed space with conditions: legal, reproducible, deaf to restarts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.sweeping import claim_next

from dmx.config import StudyConfig, parse_study
from dmx.config.space import Space, build_space
from dmx.errors import ConfigError
from dmx.sweep.design import design
from dmx.sweep.suggest import first_trials, suggest
from dmx.sweep.trial_queue import open_queue

Make = Callable[..., dict[str, Any]]
SEARCH = {
    "loss.depth": ["silog", "l1"],
    "loss.depth.silog.lam": {"low": 0.2, "high": 0.8},
    "optimizer": ["adamw", "sgd"],
    "optimizer.adamw.lr": {"low": 1e-4, "high": 1e-2, "log": True},
    "stages.0.batch_size": {"low": 4, "high": 12, "step": 4},
}
LISTED = {
    "loss.depth": ["silog", "l1"],
    "loss.depth.silog.lam": {"low": 0.25, "high": 0.75, "step": 0.25},
    "stages.0.batch_size": {"low": 4, "high": 6},
}
SAMPLERS: list[dict[str, Any]] = [
    {"name": "tpe", "startup_trials": 3},
    {"name": "forest", "startup_trials": 3},
    {"name": "random"},
    {"name": "gp", "startup_trials": 3},
    {"name": "nsga2", "population": 4},
    {"name": "nsga3", "population": 4},
    {"name": "qmc"},
    {"name": "grid"},
]
every_sampler = pytest.mark.parametrize("sampler", SAMPLERS, ids=[str(one["name"]) for one in SAMPLERS])


def made(make: Make, sampler: dict[str, Any], **changes: Any) -> tuple[StudyConfig, Space]:
    search = LISTED if sampler["name"] == "grid" else SEARCH
    data = make(search=search, sampler=sampler, **changes)
    config = parse_study(data, "study")
    return config, build_space(config, "metric")


def proposed(folder: Path, config: StudyConfig, space: Space, restart: bool) -> list[dict[str, Any]]:
    queue = open_queue(config, folder)
    queue.fill()
    seen = []
    for expected in range(config.trials):
        if restart:
            queue = open_queue(config, folder)
        assert claim_next(queue) == expected
        trial, values = suggest(queue, config, space, expected, first_trials(config, space))
        trial.study.tell(trial, values["stages.0.batch_size"] + 3.0 * (values["loss.depth"] == "l1"))
        seen.append(values)
    return seen


@every_sampler
def test_proposals_are_legal_and_restarts_change_none(
    tmp_path: Path, tiny_study: Make, sampler: dict[str, Any]
) -> None:
    config, space = made(tiny_study, sampler, trials=8)
    whole = proposed(tmp_path / "whole", config, space, restart=False)
    assert proposed(tmp_path / "parts", config, space, restart=True) == whole
    for values in whole:
        for dimension in space.dimensions:
            assert (dimension.path in values) == dimension.applies(values)
            if dimension.path in values:
                assert dimension.holds(values[dimension.path])
    other, _ = made(tiny_study, sampler, trials=8, seed=1)
    differ = proposed(tmp_path / "other", other, space, restart=False) != whole
    assert differ == (sampler["name"] != "grid")


def test_a_grid_is_every_combination_once(tmp_path: Path, tiny_study: Make) -> None:
    config, space = made(tiny_study, {"name": "grid"}, trials=12)
    seen = proposed(tmp_path, config, space, restart=False)
    expected = [
        {"loss.depth": "silog", "loss.depth.silog.lam": lam, "stages.0.batch_size": size}
        for lam in (0.25, 0.5, 0.75)
        for size in (4, 5, 6)
    ] + [{"loss.depth": "l1", "stages.0.batch_size": size} for size in (4, 5, 6)]
    assert seen == expected


def test_the_end_of_a_range_with_steps_is_in_the_space(tiny_study: Make) -> None:
    search = {"loss.depth": "silog", "loss.depth.silog.lam": {"low": 0.1, "high": 0.7, "step": 0.1}}
    config = parse_study(tiny_study(search=search, sampler="grid", trials=7), "study")
    space = build_space(config, "metric")
    points = design(config, space)
    assert points is not None
    assert all(dimension.holds(one[dimension.path]) for one in points for dimension in space.dimensions)


def test_a_grid_without_an_end_or_with_too_few_points_is_refused(tiny_study: Make) -> None:
    config = parse_study(tiny_study(search=SEARCH, sampler="grid"), "study")
    with pytest.raises(ConfigError) as caught:
        design(config, build_space(config, "metric"))
    assert "search.optimizer.adamw.lr: a grid needs a list, or a range with a `step`" in str(caught.value)
    config, space = made(tiny_study, {"name": "grid"}, trials=13)
    with pytest.raises(ConfigError, match="the grid has 12 combinations, but trials is 13; lower it to 12"):
        design(config, space)


def test_sobol_points_fill_evenly_and_more_trials_keep_the_first(tiny_study: Make) -> None:
    config, space = made(tiny_study, {"name": "qmc"}, trials=64)
    points = design(config, space)
    assert points is not None
    for path, each in (("loss.depth", 32), ("optimizer", 32)):
        counts = [sum(values[path] == choice for values in points) for choice in SEARCH[path]]
        assert counts == [each, each]
    sizes = [sum(values["stages.0.batch_size"] == size for values in points) for size in (4, 8, 12)]
    assert all(abs(count - 64 / 3) < 2 for count in sizes)
    fewer, _ = made(tiny_study, {"name": "qmc"}, trials=5)
    assert design(fewer, space) == points[:5]


def test_a_sampler_has_its_own_settings_alone(tiny_study: Make) -> None:
    assert parse_study(tiny_study(sampler="tpe"), "study").sampler.startup_trials == 10  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match="population"):
        parse_study(tiny_study(sampler={"name": "tpe", "population": 4}), "study")
    with pytest.raises(ConfigError, match=r"sampler: .*'tpe', 'forest', 'random', 'gp'"):
        parse_study(tiny_study(sampler="tpo"), "study")
