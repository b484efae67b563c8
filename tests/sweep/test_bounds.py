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
from dmx.report import gather
from dmx.report.winner import winner
from dmx.results.pareto import best_choice, knee, levels, order, points, rank_runs, run_values
from dmx.results.ranking import results
from dmx.sweep.pruning import explain_trial
from dmx.sweep.retrain import deciding, pick_finalists
from dmx.sweep.sampler_view import trials_for_sampler
from dmx.sweep.trial_queue import open_queue
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
    """Width 6 has too many parameters for the bound: it is trained, and ranked behind width 4."""
    bound = {"metric": "parameters", "at_most": 1e5}
    search = {"model.depthmasknet.width": [6, 4]}
    data = tiny_study(search=search, trials=2, pruner="none", sampler="grid", objectives=[bound])
    execute(data, tmp_path)
    config, entries = parse_study(data, "study"), results(Home(tmp_path), "tiny")
    ordered, front, choice = rank_runs(entries, config.goals)
    sizes = [entry.record["parameters"] for entry in ordered]
    assert sizes[0] < 1e5 < sizes[1]
    assert front == 1
    assert choice == ordered[0].run == "tiny-0001"
    # the other one misses the bound, so no seed could make it the better one
    assert pick_finalists(ordered, deciding(config, None), 3) == [choice]
    small, large = run_values(ordered[0], config.goals), run_values(ordered[1], config.goals)
    assert small is not None
    assert large is not None
    by_depth = ordered[0] if small[0] < large[0] else ordered[1]
    finalists = pick_finalists(ordered, deciding(config, "val/depth/rmse_pooled"), 3)
    assert finalists[0] == by_depth.run
    trials = optuna_trials(config, tmp_path)
    assert trials[0].constraints == {"bound.parameters": pytest.approx(sizes[1] / 1e5 - 1)}
    assert trials[1].constraints == {"bound.parameters": 0.0}
    seen = parse_study({**data, "sampler": "tpe"}, "study")
    assert [(trial.number, trial.values) for trial in trials_for_sampler(trials, seen)] == [(1, [0.0]), (0, [1.0])]
    assert "  misses parameters <= 100000 by " in "\n".join(explain_trial(trials, 0, config))
    assert "  meets parameters <= 100000" in "\n".join(explain_trial(trials, 1, config))
    capsys.readouterr()
    show_study("tiny", Home(tmp_path), "tiny")
    said = capsys.readouterr().out
    assert "1 of 2 complete runs meet parameters <= 100000; these come first." in said
    assert "by val/depth/rmse_pooled (minimize), which `dmx train-best` trains, is tiny-0001." in said
    study = open_queue(config, Home(tmp_path).study("tiny")).load_study()
    page = winner(gather(config, study, Home(tmp_path)))
    assert "1 of 2 complete trials meet parameters &lt;= 100000; of these no other beats the following" in page
    assert "tiny-0001" in page
    assert "tiny-0000" not in page


def test_bounds_that_make_no_sense_are_refused(tiny_study: Make) -> None:
    wrong = {"metric": "val/mask/iou_pooled", "at_most": 0.9}
    with pytest.raises(ConfigError, match="at_most does not go with val/mask/iou_pooled, of which higher is better"):
        parse_study(tiny_study(objectives=[wrong], pruner="none"), "study")
    own = {"metric": "val/depth/rmse_pooled", "at_most": 0.5}
    goals = parse_study(tiny_study(objectives=[own, "parameters"], pruner="none"), "study").goals
    assert [str(goal) for goal in goals] == ["val/depth/rmse_pooled <= 0.5", "parameters"]
    with pytest.raises(ConfigError, match="objectives name one twice"):
        parse_study(tiny_study(objectives=[own, own], pruner="none"), "study")
