from typing import Any

import pytest

from dmx.config import ExperimentConfig, Objective, parse_experiment
from dmx.config.experiment import flatten
from dmx.errors import ConfigError


def minimal(**changes: Any) -> dict[str, Any]:
    return {
        "name": "tiny",
        "data": {"root": "data/none"},
        "model": "depthmasknet",
        "loss": {"mask": "bce", "depth": "l1"},
        "optimizer": {"name": "adamw", "lr": 1e-3},
        "stages": [{"epochs": 1, "size": 64, "batch_size": 8}],
        **changes,
    }


def parse(**changes: Any) -> ExperimentConfig:
    return parse_experiment(minimal(**changes), "tiny.yaml")


def problems(**changes: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(**changes)
    return str(caught.value)


def test_a_dump_reads_back_as_an_equal_configuration() -> None:
    config = parse(loss={"mask": "bce", "depth": [{"name": "silog", "lam": 0.3, "weight": 2}, "l1"]})
    again = parse_experiment(config.dump(), "dump")
    assert again == config
    assert again.fingerprint == config.fingerprint


def test_ways_of_saying_the_same_have_one_fingerprint() -> None:
    assert parse(model="depthmasknet") == parse(model={"name": "depthmasknet", "width": 32})
    assert parse(objective="val/mask/iou_pooled") == parse(
        objective={"metric": "val/mask/iou_pooled", "direction": "maximize"}
    )
    assert parse(seed=0).fingerprint != parse(seed=1).fingerprint


def test_every_problem_stands_in_one_message() -> None:
    text = problems(
        model={"name": "depthmasknet", "widht": 16},
        optimizer={"name": "adam", "lr": -1},
        loss={"mask": "dise", "depth": [{"name": "silog", "lam": 3}]},
        stages=[{"epochs": 0, "size": 64, "batch_size": "many"}],
        trainig={"precision": "float32"},
    )
    assert "tiny.yaml has 7 problems" in text
    assert "model.widht: unknown key; did you mean 'width'?" in text
    assert "optimizer.lr: must be greater than" in text
    assert "but got -1" in text
    assert "loss.mask.0: no mask loss 'dise'; did you mean 'dice'?" in text
    assert "loss.depth.0.lam: must be less than or equal to 1, but got 3" in text
    assert "stages.0.epochs: must be greater than or equal to 1, but got 0" in text
    assert "stages.0.batch_size: must be a valid integer" in text
    assert "trainig: unknown key; did you mean 'training'?" in text


def test_sizes_are_a_side_or_height_and_width() -> None:
    assert parse(stages=[{"epochs": 1, "size": [48, 64], "batch_size": 2}]).stages[0].height_width == (48, 64)
    for size in ("big", [1, 2, 3], 4, True, [64, 5000]):
        text = problems(stages=[{"epochs": 1, "size": size, "batch_size": 2}])
        assert f"stages.0.size: must be a side or [height, width] of 8 to 4096 pixels, but got {size!r}" in text
    assert "stages: needs at least one item, but got none" in problems(stages=[])


def test_what_is_missing_is_asked_for() -> None:
    with pytest.raises(ConfigError, match="optimizer: is missing; give it"):
        parse_experiment({key: value for key, value in minimal().items() if key != "optimizer"}, "tiny.yaml")


def test_a_component_must_be_named() -> None:
    assert "model: give a model by name or as a mapping with `name`" in problems(model={"width": 3})
    assert "model: give a model by name or as a mapping with `name`" in problems(model=3)


def test_a_component_says_what_it_needs_elsewhere() -> None:
    text = problems(depth_link="identity", loss={"mask": "bce", "depth": "silog"})
    assert (
        "depth loss 'silog' needs depth_link to be auto or sigmoid or softplus or exp or inverse, but it is identity"
        in text
    )
    text = problems(loss={"mask": "bce", "depth": "bce_dice"}, optimizer="prodigy", groups={"encoder_lr": 0.1})
    assert (
        "depth loss 'bce_dice' needs depth_link to be identity, but it is auto; optimizer 'prodigy' needs "
        "groups.encoder_lr to be 1, but it is 0.1; change one of the two"
    ) in text
    text = problems(optimizer="sgd_schedulefree", schedule="cosine", training={"ema_decay": 0.9})
    assert "'sgd_schedulefree' needs schedule to be constant, but it is cosine" in text
    assert "'sgd_schedulefree' needs training.ema_decay to be null, but it is 0.9" in text
    parse(depth_link="identity", loss={"mask": "bce", "depth": ["bce_dice", "l1"]})
    parse(optimizer="sgd_schedulefree", schedule={"name": "constant", "warmup": 0.1})


def test_a_loss_stands_once_in_a_task() -> None:
    text = problems(loss={"mask": "bce", "depth": [{"name": "berhu", "threshold": 0.1}, "berhu"]})
    assert "loss.depth: names a loss twice (berhu, berhu); give it one weight instead" in text
    text = problems(loss={"mask": ["bce", {"name": "dice"}, {"name": "bce", "weight": 0.5}], "depth": ["l1", "l1"]})
    assert "loss.mask: names a loss twice (bce, dice, bce); give it one weight instead" in text
    assert "loss.depth: names a loss twice (l1, l1); give it one weight instead" in text


def test_nothing_stands_twice_in_a_list_of_names() -> None:
    text = problems(augment=["brightness", {"name": "brightness", "limit": 0.1}])
    assert "augment.steps: names an augmentation twice (brightness, brightness); leave one" in text
    assert "plugins: names a module twice (json, json); leave one" in problems(plugins=["json", "json"])


def test_a_split_must_leave_something_to_train_on() -> None:
    text = problems(data={"root": "x", "split": {"val": 0.6, "test": 0.4}})
    assert "val + test must be below 1, but got 0.6 + 0.4; nothing is left to train on" in text


def test_the_direction_follows_from_the_metric() -> None:
    assert parse().objective.direction == "minimize"
    assert parse(objective="val/mask/iou_pooled").objective.direction == "maximize"
    assert "no validation metric 'val/depth/rsme_pooled'; did you mean 'val/depth/rmse_pooled'?" in problems(
        objective="val/depth/rsme_pooled"
    )


def test_better_goes_by_the_direction() -> None:
    low = Objective(metric="val/depth/rmse_pooled", direction="minimize")
    high = Objective(metric="val/mask/iou_pooled", direction="maximize")
    assert low.better(1.0, than=2.0)
    assert not low.better(2.0, than=1.0)
    assert high.better(2.0, than=1.0)
    assert not high.better(1.0, than=2.0)


def test_an_unknown_plugin_is_a_problem_of_the_user() -> None:
    assert "module 'no_such_module' cannot be imported" in problems(plugins=["no_such_module"])


def test_flat_names_are_the_same_for_every_component() -> None:
    one = flatten(parse(optimizer={"name": "adamw", "lr": 0.5}))
    other = flatten(parse(optimizer={"name": "sgd", "lr": 0.25}, loss={"mask": "bce", "depth": ["ssim", "l1"]}))
    assert (one["optimizer"], one["optimizer.lr"]) == ("adamw", 0.5)
    assert (other["optimizer"], other["optimizer.lr"]) == ("sgd", 0.25)
    assert other["loss.depth"] == "ssim+l1"
    assert one["stages"] == "1x64@8"
    half = parse(stages=[{"epochs": 1, "size": 64, "batch_size": 8, "share": 0.5}])
    assert flatten(half)["stages"] == "1x64@8 of 0.5"
    assert all(isinstance(value, str | int | float | bool | None) for value in one.values())


def test_a_weight_belongs_beside_a_losss_parameters() -> None:
    text = problems(loss={"mask": "bce", "depth": [{"name": "silog", "wieght": 1}]})
    assert "loss.depth.0.wieght: unknown key; did you mean 'weight'? Known: lam, weight" in text


def test_a_name_in_other_letters_is_the_one_meant() -> None:
    assert "did you mean 'adamw'?" in problems(optimizer="adamW")


@pytest.mark.parametrize("metric", [[[256]], {"a": 1}, 3, None])
def test_a_metric_that_is_no_name_is_a_problem_of_its_place(metric: Any) -> None:
    assert "objective.metric" in problems(objective={"metric": metric})
