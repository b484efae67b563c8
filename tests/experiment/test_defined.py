"""Data that cannot teach, or measure, what a run is for: refused before anything is written, or one outcome."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from helpers.running import execute

from dmx.config import parse_experiment, parse_study
from dmx.data.layout import read
from dmx.errors import ConfigError, DataError
from dmx.experiment import check
from dmx.outcome import Outcome
from dmx.tracking.home import Home

HOME = Home(Path("unused"))
Make = Callable[..., dict[str, Any]]


@pytest.fixture
def own(tiny_data: Path, tmp_path: Path) -> Path:
    """The small data set, to be changed."""
    root = tmp_path / "data"
    shutil.copytree(tiny_data, root)
    return root


def on(root: Path, tiny: Make, **changes: Any) -> dict[str, Any]:
    return tiny(data={"root": str(root), "split": {"val": 0.25, "test": 0.25}}, **changes)


def without_objects(root: Path) -> None:
    for path in root.glob("mask/*.png"):
        cv2.imwrite(str(path), np.zeros((32, 32), np.uint8))


@pytest.mark.parametrize("form", ["pooled", "per_image"])
def test_an_objective_without_a_value_on_the_truth_is_refused(own: Path, tiny: Make, form: str) -> None:
    without_objects(own)
    metric = f"val/mask/iou_{form}"
    with pytest.raises(DataError, match=rf"{metric} has no value on the 12 validation samples at 32x32 whatever is "):
        check(parse_experiment(on(own, tiny, objective=metric), "test"), HOME)
    assert check(parse_experiment(on(own, tiny), "test"), HOME)  # depth is there
    with pytest.raises(DataError, match="because no mask there has an object; take another objective"):
        check(parse_experiment(on(own, tiny), "test"), HOME, [metric])


def test_one_sample_with_a_value_is_enough(own: Path, tiny: Make) -> None:
    config = parse_experiment(on(own, tiny, objective="val/mask/iou_per_image"), "test")
    val = check(config, HOME).split.val
    masks = {path.stem: path.read_bytes() for path in own.glob("mask/*.png")}
    without_objects(own)
    last = next(sample for sample in read(own).samples if sample.id == val[-1])
    (own / last.mask).write_bytes(masks[Path(last.mask).stem])
    assert check(config, HOME)


@pytest.mark.parametrize("what", ["depth", "mask"])
def test_what_no_training_sample_knows_is_refused(
    own: Path, tiny: Make, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading refuses a sample without known depth: only resizing can lose it all."""
    from dataclasses import replace

    from dmx.data import dataset
    from dmx.quartet import Quartet

    field, resize = {"depth": "valid", "mask": "mask_valid"}[what], dataset.resize

    def losing(quartet: Quartet, size: tuple[int, int]) -> Quartet:
        found = resize(quartet, size)
        return replace(found, **{field: np.zeros_like(found.valid)})

    monkeypatch.setattr(dataset, "resize", losing)
    config = parse_experiment(on(own, tiny, stages=[{"epochs": 1, "size": 16, "batch_size": 8}]), "test")
    with pytest.raises(DataError, match=f"{what} is known in none of the 24 training samples at 16x16, so nothing can"):
        check(config, HOME)


def test_a_goal_of_another_kind_of_depth_is_refused(own: Path, tiny: Make) -> None:
    declared = own / "dataset.yaml"
    assert "metric" in declared.read_text()
    with pytest.raises(ConfigError, match=r"objectives: 'val/depth/nothing' is not defined for metric depth; take one"):
        check(parse_experiment(on(own, tiny), "test"), HOME, ["val/depth/nothing"])
    study = {"name": "s", "experiment": tiny(), "search": {"loss.depth": ["silog", "l1"]}, "trials": 1}
    config = parse_study({**study, "objectives": ["val/mask/iou_pooled", "parameters"], "pruner": "none"}, "study")
    assert config.metrics == ("val/depth/rmse_pooled", "val/mask/iou_pooled")


def blind(tiny: Make, **changes: Any) -> dict[str, Any]:
    """An experiment whose logarithmic depth error is undefined: it hardly learns, and predicts depths below 0."""
    changes = {"objective": "val/depth/rmse_log_pooled", "optimizer": {"name": "sgd", "lr": 1e-9}, **changes}
    return tiny(depth_link="identity", loss={"mask": "bce", "depth": "l1"}, **changes)


def test_an_objective_that_no_epoch_has_is_an_outcome_of_its_own(tiny: Make, tmp_path: Path) -> None:
    result = execute(blind(tiny), tmp_path)
    assert (result.outcome, result.best, result.epochs) == (Outcome.UNDEFINED, None, 2)
    assert result.reason == "val/depth/rmse_log_pooled had a value in none of 2 epochs"
    record = json.loads((tmp_path / "runs/r/result.json").read_text())
    assert (record["outcome"], record["reason"]) == ("undefined", result.reason)
    last = json.loads((tmp_path / "runs/r/journal.jsonl").read_text().splitlines()[-1])
    assert (last["kind"], last["outcome"], last["reason"]) == ("finish", "undefined", result.reason)
    assert not (tmp_path / "runs/r/best.safetensors").exists()


def test_the_best_epoch_has_all_that_it_is_judged_by(tiny: Make, tmp_path: Path) -> None:
    data = blind(tiny, objective="val/depth/rmse_pooled")
    assert execute(data, tmp_path / "one").outcome is Outcome.COMPLETE
    several = ("val/depth/rmse_pooled", "val/depth/rmse_log_pooled")
    result = execute(data, tmp_path / "two", required_metrics=several)
    assert (result.outcome, result.best) == (Outcome.UNDEFINED, None)
    assert result.reason == (
        "val/depth/rmse_pooled and val/depth/rmse_log_pooled had values together in none of 2 epochs"
    )
