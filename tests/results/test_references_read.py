"""How runs stand against references, and which runs agree in their metrics."""

from pathlib import Path

import pytest

from dmx.errors import UserError
from dmx.experiment.run_record import same
from dmx.outcome import Outcome
from dmx.results.ranking import Entry, comparable
from dmx.results.references import Known, References, below, standings
from dmx.training.result import RunResult

UP = {"depth/rmse_pooled": False, "depth/checkerboard_pooled": False, "mask/iou_pooled": True}
FOUND = References(
    Path("nowhere"),
    Known(
        made_from=3,
        training=3,
        constants={},
        values={
            "mean_map": {"depth/rmse_pooled": 1.21, "depth/checkerboard_pooled": 0.0},
            "global_mean": {"depth/rmse_pooled": 1.356, "depth/checkerboard_pooled": -0.1},
            "mean_mask": {"mask/iou_pooled": 0.25},
            "background_difference": {"mask/iou_pooled": None},
        },
        definitions={},
        higher_is_better=UP,
    ),
)
METRICS = ("val/depth/rmse_pooled", "val/mask/iou_pooled", "parameters", "val/depth/checkerboard_pooled")


def test_it_is_against_the_strongest_that_has_a_value() -> None:
    values = {"val/depth/rmse_pooled": 0.81, "val/depth/skill_pooled": 0.552, "val/mask/iou_pooled": 0.2}
    depth, mask = standings(FOUND, METRICS, {**values, "val/depth/checkerboard_pooled": 9.0, "parameters": 7.0})
    assert str(depth) == "val/depth/rmse_pooled 0.81: mean depth map 1.21, skill 0.552"
    assert str(mask) == "val/mask/iou_pooled 0.2: NO BETTER THAN the mean mask, which has 0.25"
    assert below([depth, mask]) == "mean mask: val/mask/iou_pooled"
    assert below([depth]) == ""


@pytest.mark.parametrize(("metric", "value"), [("val/depth/rmse_pooled", 1.21), ("val/mask/iou_pooled", 0.25)])
def test_who_is_equal_is_no_better(metric: str, value: float) -> None:
    (one,) = standings(FOUND, [metric, metric], {metric: value})
    assert not one.better


def test_a_run_without_the_value_and_a_home_without_references_stand_nowhere() -> None:
    assert standings(FOUND, METRICS, {"val/depth/rmse_pooled": None}) == []
    assert standings(None, METRICS, {"val/depth/rmse_pooled": 1.0}) == []


def entry(run: str, **definitions: str) -> Entry:
    return Entry(run, RunResult(Outcome.COMPLETE, "", None, 1, 1, 1.0), {"definitions": definitions})


def test_a_metric_that_only_some_runs_have_is_no_difference() -> None:
    before, after = entry("old", a="1"), entry("new", a="1", b="2")
    comparable([before, after, entry("other", c="3")], ["definitions"])
    for one, other in ((before, after), (after, before)):
        assert same("definitions", one.record["definitions"], other.record["definitions"])


def test_a_metric_that_runs_define_differently_is_one() -> None:
    runs = [entry("old", a="1"), entry("new", b="2", a="1"), entry("bad", b="3", a="1")]
    with pytest.raises(UserError, match=r"^new and bad cannot be compared: their definitions differs"):
        comparable(runs, ["definitions"])
    assert not same("definitions", runs[1].record["definitions"], runs[2].record["definitions"])
    assert not same("definitions", None, {"a": "1"})
