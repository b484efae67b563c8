"""Objectives with bounds: what meets them comes first, and the others by how much they miss."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.sweeping import execute, optuna_trials
from hypothesis import given
from hypothesis import strategies as st

from dmx.cli.leaderboard import show_study
from dmx.config import parse_study
from dmx.config.objective import Goal
from dmx.errors import ConfigError
from dmx.outcome import Outcome
from dmx.results.pareto import best_choice, knee, levels, order, points, rank_runs, run_values
from dmx.results.ranking import results
from dmx.sweep.pruning import explain_trial
from dmx.sweep.retrain import pick_trial
from dmx.sweep.view import view
from dmx.tracking import Home

Make = Callable[..., dict[str, Any]]
pytestmark = pytest.mark.filterwarnings("ignore:The `noload` loader strategy:DeprecationWarning")  # inside MLflow
DEPTH, IOU = Goal(metric="val/depth/rmse_pooled"), Goal(metric="val/mask/iou_pooled", at_least=0.9)


def test_iou_at_least_then_depth() -> None:
    """0.95 and 0.91 and 0.9 meet it, and are ordered by depth alone; then the nearest to it, whatever its depth."""
    values = [[1.0, 0.95], [0.1, 0.2], [0.5, 0.91], [0.7, 0.9], [0.3, 0.89]]
    assert order(*points(values, [DEPTH, IOU])) == [2, 3, 0, 4, 1]
    assert best_choice(values, [DEPTH, IOU]) == 2
    assert best_choice(values[1:2] + values[4:], [DEPTH, IOU]) == 1
    assert points(values, [DEPTH, IOU])[1].tolist() == pytest.approx([0, 0.7 / 0.9, 0, 0, 0.01 / 0.9])


def test_where_all_have_bounds_the_first_objective_decides() -> None:
    depth = Goal(metric="val/depth/rmse_pooled", at_most=0.6)
    assert order(*points([[0.5, 0.92], [0.4, 0.91], [0.7, 0.99]], [depth, IOU])) == [1, 0, 2]


def test_what_is_no_number_meets_no_bound() -> None:
    values = [[0.1, float("nan")], [0.5, 0.1], [float("nan"), 0.95]]
    assert order(*points(values, [DEPTH, IOU]))[0] == 1


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=9))
def test_levels_agree_with_the_rules(rows: list[tuple[int, int, int]]) -> None:
    """Deb's rules: who meets beats who misses; of two that meet by dominance; of two that miss who misses less."""
    cost = Goal(metric="parameters", at_most=2)
    goals = [DEPTH, Goal(metric="multiply_adds"), cost]
    values = [[float(v) for v in row] for row in rows]
    found = levels(*points(values, goals))

    def beats(a: list[float], b: list[float]) -> bool:
        over_a, over_b = max(0.0, a[2] - 2), max(0.0, b[2] - 2)
        if over_a or over_b:
            return over_a < over_b
        return a[0] <= b[0] and a[1] <= b[1] and a[:2] != b[:2]

    for i, a in enumerate(values):
        for j, b in enumerate(values):
            if beats(a, b):
                assert found[i] < found[j]
    assert min(found) == 0


def test_without_bounds_all_is_as_it_was() -> None:
    F = np.random.default_rng(0).normal(size=(12, 2))
    goals = [DEPTH, Goal(metric="parameters")]
    assert order(*points(F.tolist(), goals)) == order(F)
    assert best_choice(F.tolist(), goals) == knee(F)


def test_a_study_with_a_bound(tmp_path: Path, tiny_study: Make, capsys: pytest.CaptureFixture[str]) -> None:
    """Of widths 4, 6 and 8 one has too many parameters for the bound: it is trained, and ranked last."""
    search = {"model.depthmasknet.width": [4, 6, 8]}
    data = tiny_study(search=search, trials=3, pruner="none", sampler="grid", objectives="parameters")
    execute(data, tmp_path)
    entries = results(Home(tmp_path), "tiny")
    sizes = sorted(entry.record["parameters"] for entry in entries)
    bound = {"metric": "parameters", "at_most": sizes[1]}
    home = tmp_path / "bounded"
    execute(data := {**data, "objectives": [bound]}, home)
    config, entries = parse_study(data, "study"), results(Home(home), "tiny")
    ordered, front, choice = rank_runs(entries, config.goals)
    assert [entry.record["parameters"] for entry in ordered][2] == sizes[2]
    depths = [values[0] for entry in ordered[:2] if (values := run_values(entry, config.goals))]
    assert depths == sorted(depths)
    assert front == 1
    assert choice == ordered[0].run == pick_trial(config, ordered, None)
    trials = optuna_trials(config, home)
    over = next(t.number for t in trials if t.params["model.depthmasknet.width"] == 8)
    assert trials[over].constraints == {"bound.parameters": pytest.approx(sizes[2] / sizes[1] - 1)}
    seen = parse_study({**data, "sampler": {"name": "tpe"}}, "study")
    assert [trial.number for trial in view(trials, seen)][-1] == over
    assert f"  misses parameters <= {sizes[1]:g} by " in "\n".join(explain_trial(trials, over, config))
    capsys.readouterr()
    show_study("tiny", Home(home), "tiny")
    said = capsys.readouterr().out
    assert f"2 of 3 complete runs meet parameters <= {sizes[1]:g}; these come first." in said
    assert f"The best of these by val/depth/rmse_pooled (minimize), which `dmx train-best` trains, is {choice}." in said
    assert all(entry.result.outcome is Outcome.COMPLETE for entry in entries)


def test_bounds_that_make_no_sense_are_refused(tiny_study: Make) -> None:
    wrong = {"metric": "val/mask/iou_pooled", "at_most": 0.9}
    with pytest.raises(ConfigError, match="at_most does not go with val/mask/iou_pooled, of which higher is better"):
        parse_study(tiny_study(objectives=[wrong], pruner="none"), "study")
    own = {"metric": "val/depth/rmse_pooled", "at_most": 0.5}
    goals = parse_study(tiny_study(objectives=[own, "parameters"], pruner="none"), "study").goals
    assert [str(goal) for goal in goals] == ["val/depth/rmse_pooled <= 0.5", "parameters"]
    with pytest.raises(ConfigError, match="objectives name one twice"):
        parse_study(tiny_study(objectives=[own, own], pruner="none"), "study")
