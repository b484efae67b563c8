"""The sampler `forest`: what it learns from, what it chooses from, and that it finds what is good."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.sweeping import claim_next
from optuna.trial import FrozenTrial, TrialState, create_trial
from scipy.stats import norm

from dmx.config import StudyConfig, parse_study
from dmx.config.space import Dimension, Space, build_space
from dmx.outcome import Outcome
from dmx.registry import Choice, Range
from dmx.sweep.forest import ForestSampler, features, normal_scores
from dmx.sweep.suggest import distribution, first_trials, suggest
from dmx.sweep.trial_queue import open_queue

Make = Callable[..., dict[str, Any]]
SEARCH = {
    "loss.depth": ["silog", "l1"],
    "loss.depth.silog.lam": {"low": 0.2, "high": 0.8},
    "optimizer": ["adamw", "sgd"],
    "optimizer.adamw.lr": {"low": 1e-5, "high": 1e-1, "log": True},
    "stages.0.batch_size": {"low": 4, "high": 12, "step": 4},
}
LISTED = {"loss.depth": ["silog", "l1"], "loss.depth.silog.lam": {"low": 0.25, "high": 0.75, "step": 0.25}}


def error(values: dict[str, Any]) -> float:
    """What a trial has in the end: least with AdamW at 3e-3 and SILog of 0.5."""
    found = 0.3 if values["loss.depth"] == "l1" else abs(values["loss.depth.silog.lam"] - 0.5)
    return found + (1.0 if values["optimizer"] == "sgd" else 0.3 * abs(math.log10(values["optimizer.adamw.lr"]) + 2.5))


def made(
    make: Make, name: str = "forest", search: dict[str, Any] = SEARCH, **changes: Any
) -> tuple[StudyConfig, Space]:
    sampler = {"name": name} if name == "random" else {"name": name, "startup_trials": 8}
    config = parse_study(make(**{"search": search, "sampler": sampler, "pruner": "none", **changes}), "study")
    return config, build_space(config, "metric")


def errors(folder: Path, config: StudyConfig, space: Space) -> list[float]:
    """The errors of a study's trials, one after the other."""
    queue = open_queue(config, folder)
    queue.fill()
    found = []
    for number in range(config.trials):
        assert claim_next(queue) == number
        trial, values = suggest(queue, config, space, number, first_trials(config, space))
        found.append(error(values))
        trial.report(found[-1], config.experiment.epochs)
        trial.study.tell(trial, found[-1])
    return found


def test_it_finds_what_is_good_in_a_space_with_branches(tmp_path: Path, tiny_study: Make) -> None:
    ends: dict[str, list[float]] = {"forest": [], "random": []}
    for name, found in ends.items():
        for seed in range(3):
            config, space = made(tiny_study, name, trials=30, seed=seed)
            found.append(float(np.mean(errors(tmp_path / f"{name}{seed}", config, space)[20:])))
    assert max(ends["forest"]) < 0.5 * min(ends["random"])


def test_of_a_small_space_what_is_left_is_proposed(tiny_study: Make) -> None:
    config, space = made(tiny_study, search=LISTED, trials=4)
    silog = [{"loss.depth": "silog", "loss.depth.silog.lam": lam} for lam in (0.25, 0.5, 0.75)]
    every: list[dict[str, Any]] = [*silog, {"loss.depth": "l1"}]
    for left in ([], every[1:2], every):
        tried = {frozenset(one.items()) for one in every if one not in left}
        assert ForestSampler(config, space, 0, {}).candidates(every, tried, np.random.default_rng(0)) == left


def trial(
    space: Space, number: int, values: dict[str, Any], seen: list[float], outcome: str = "complete"
) -> FrozenTrial:
    """A trial as the sampler sees it, with what validation showed after each epoch."""
    by_path = {dimension.path: dimension for dimension in space.dimensions}
    made = create_trial(
        params=values,
        distributions={path: distribution(by_path[path]) for path in values},
        value=float(number),
        intermediate_values=dict(enumerate(seen, 1)),
        user_attrs={"outcome": outcome},
    )
    made.number = number
    assert made.state is TrialState.COMPLETE
    return made


def test_one_objective_is_learned_from_the_best_value_and_the_last_epoch(tiny_study: Make) -> None:
    config, space = made(tiny_study, search=LISTED, trials=9)
    last, values = config.experiment.epochs, {"loss.depth": "l1"}
    trials = [
        trial(space, 0, values, [0.9, 0.4, 0.6]),
        trial(space, 1, values, [0.5]),
        trial(space, 2, values, [0.1, 0.2], Outcome.DIVERGED),
        trial(space, 3, values, [], "pruned"),
        trial(space, -1, values, []),
    ]
    epochs, scores = ForestSampler(config, space, 0, {}).learned(trials)
    assert epochs == [3, 1, last, last, last]
    assert scores == pytest.approx([*norm.ppf([0.125, 0.375, 0.625, 0.875]), 0.0])  # failures in the study's order


def test_several_objectives_are_learned_from_the_order_of_the_study(tiny_study: Make) -> None:
    config, space = made(tiny_study, search=LISTED, trials=9, objectives=["val/mask/iou_pooled"])
    trials = [trial(space, number, {"loss.depth": "l1"}, []) for number in (4, 1, 7)]
    epochs, scores = ForestSampler(config, space, 0, {}).learned(trials)
    assert (epochs, [*scores]) == ([config.experiment.epochs] * 3, [*norm.ppf([1 / 6, 0.5, 5 / 6])])


def test_candidates_are_legal_new_and_many_are_one_step_from_the_best(tiny_study: Make) -> None:
    config, space = made(tiny_study, trials=9)
    best = {"loss.depth": "l1", "optimizer": "adamw", "optimizer.adamw.lr": 1e-3, "stages.0.batch_size": 8}
    tried = {frozenset({**best, "stages.0.batch_size": 4}.items())}
    found = ForestSampler(config, space, 0, {}).candidates([best], tried, np.random.default_rng(0))
    near = [one for one in found if sum(one.get(path) != value for path, value in best.items()) <= 1]
    assert len(near) >= len(found) / 5  # of configurations at random a twelfth is so near
    assert not tried & {frozenset(one.items()) for one in found}
    for one in found:
        assert {d.path for d in space.dimensions if d.applies(one)} == {*one}
        assert all(d.holds(one[d.path]) for d in space.dimensions if d.path in one)


def test_a_configuration_as_numbers() -> None:
    dimensions = [
        Dimension("optimizer", Choice("adamw", "sgd"), None, whole=False),
        Dimension("lr", Range(1e-4, 1e-2, log=True), ("optimizer", "adamw"), whole=False),
        Dimension("momentum", Range(0.5, 0.9), ("optimizer", "sgd"), whole=False),
        Dimension("width", Choice(32, 8, 16), None, whole=False),
        Dimension("weights", Choice(None, "in1k"), None, whole=False),
    ]
    adamw = {"optimizer": "adamw", "lr": 1e-3, "width": 16, "weights": None}
    assert features(dimensions, adamw) == pytest.approx([1, 0, 0.5, -1, 1, 1, 0])
    assert features(dimensions, {"optimizer": "sgd", "momentum": 0.6}) == pytest.approx([0, 1, -1, 0.25, -1, 0, 0])


def test_normal_scores() -> None:
    assert normal_scores(4) == pytest.approx(norm.ppf([0.125, 0.375, 0.625, 0.875]))
    assert len(normal_scores(0)) == 0


def test_a_bound_on_the_only_objective_is_learned_from_the_order(tiny_study: Make) -> None:
    bound = {"metric": "val/depth/rmse_pooled", "at_most": 0.9}
    config, space = made(tiny_study, search=LISTED, trials=9, objectives=[bound])
    assert len(config.goals) == 1
    trials = [trial(space, number, {"loss.depth": "l1"}, []) for number in (4, 1)]
    assert [*ForestSampler(config, space, 0, {}).learned(trials)[1]] == [*norm.ppf([0.25, 0.75])]


def test_where_nothing_is_known_every_candidate_is_as_likely(tmp_path: Path, tiny_study: Make) -> None:
    search = {"stages.0.batch_size": {"low": 2, "high": 400}}
    found = []
    for seed in range(12):
        sampler = {"name": "forest", "startup_trials": 1}
        config, space = made(tiny_study, search=search, trials=2, seed=seed, sampler=sampler)
        queue = open_queue(config, tmp_path / str(seed))
        queue.fill()
        for number in range(2):
            claim_next(queue)
            one, values = suggest(queue, config, space, number, first_trials(config, space))
            one.report(1.0, 1)
            one.study.tell(one, 1.0)
        found.append(values["stages.0.batch_size"])
    assert 100 < float(np.mean(found)) < 300  # the mean of 12 uniform draws is 200, give or take 33


def test_given_values_are_kept_and_trials_without_values_are_no_neighbours(tiny_study: Make) -> None:
    config, space = made(tiny_study, trials=9)
    sampler = ForestSampler(config, space, 0, {"optimizer": "sgd"})
    found = sampler.candidates(
        [{}, {"optimizer": "adamw", "optimizer.adamw.lr": 1e-3}], set(), np.random.default_rng(0)
    )
    assert found
    assert {one["optimizer"] for one in found} == {"sgd"}
    assert ForestSampler(config, space, 0, {}).candidates([{}], set(), np.random.default_rng(0))
