"""Results on record that were damaged since."""

import json
from pathlib import Path
from typing import Any

import pytest

from dmx.errors import UserError
from dmx.results.ranking import results
from dmx.results.records import Chosen, read_chosen, read_result
from dmx.tracking.home import Home

WHOLE: dict[str, Any] = {
    "run": "r",
    "tags": {"dmx.role": "run"},
    "objective": {"metric": "val/depth/rmse_pooled", "direction": "minimize"},
    "params": {"name": "r", "seed": 0, "optimizer.lr": 1e-3},
    "outcome": "complete",
    "reason": "",
    "best": {
        "epoch": 1,
        "step": 3,
        "value": 0.5,
        "metrics": {"val/depth/rmse_pooled": 0.5, "val/mask/iou_pooled": None},
    },
    "epochs": 1,
    "steps": 3,
    "seconds": 1.5,
}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    for run in ("q", "r"):
        (tmp_path / "runs" / run).mkdir(parents=True)
        (tmp_path / "runs" / run / "result.json").write_text(json.dumps(WHOLE))
    return Home(tmp_path)


def test_a_whole_result(home: Home) -> None:
    found = read_result(home.run("r"))
    assert found is not None
    assert found[0].to_dict() == {key: WHOLE[key] for key in found[0].to_dict()}
    assert found[1] == WHOLE


@pytest.mark.parametrize(
    "change",
    [
        {"outcome": "done"},
        {"best": {"epoch": 1}},
        {"best": {**WHOLE["best"], "value": "low"}},
        {"epochs": "many"},
        {"tags": None},
        {"params": []},
        {"objective": {"metric": "val/none"}},
        {"steps": [3]},
        {"memory_mb": "much"},
    ],
)
def test_one_damaged_result_is_named_by_whoever_reads_all(home: Home, change: dict[str, Any]) -> None:
    path = home.run("r") / "result.json"
    path.write_text(json.dumps({**WHOLE, **change}))
    with pytest.raises(UserError) as caught:
        results(home)
    assert str(caught.value).startswith(f"{path}: is damaged (")
    assert str(caught.value).endswith(
        f"; restore it from a copy, or remove {home.run('r')}, and the same command trains the run again."
    )
    path.unlink()
    assert [entry.run for entry in results(home)] == ["q"]


def test_a_damaged_choice_of_train_best(tmp_path: Path) -> None:
    path = tmp_path / "best.json"
    assert read_chosen(path) is None
    path.write_text('{"champion": "r", "test": null}')
    assert read_chosen(path) == Chosen(champion="r", test=None)
    path.write_text('{"champion": 3}')
    with pytest.raises(
        UserError, match=r"best\.json: is damaged .*; without it the same `dmx train-best` reads test once"
    ):
        read_chosen(path)
