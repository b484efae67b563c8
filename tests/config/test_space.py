from typing import Any

import pytest

from dmx.config import StudyConfig, parse_experiment, parse_study
from dmx.config.experiment import flatten
from dmx.config.space import Space, build_space
from dmx.errors import ConfigError
from dmx.registry import Choice, Range, depth_losses, mask_losses, models, optimizers


def study(search: dict[str, Any], **experiment: Any) -> StudyConfig:
    base = {
        "data": {"root": "data/none"},
        "model": {"name": "depthmasknet", "width": 8},
        "loss": {"mask": "bce", "depth": "l1"},
        "optimizer": "adamw",
        "stages": [{"epochs": 1, "size": 64, "batch_size": 8}],
    }
    return parse_study({"name": "s", "experiment": {**base, **experiment}, "search": search, "trials": 3}, "s.yaml")


def space(search: dict[str, Any], kind: str | None = None, **experiment: Any) -> Space:
    return build_space(study(search, **experiment), kind)


def test_auto_opens_every_component_with_its_own_ranges() -> None:
    found = space({"model": "auto", "optimizer": "auto"})
    by_path = {dimension.path: dimension for dimension in found.dimensions}
    drawn = {name: one for name, one in models.items() if name != "depth_anything"}  # of use with a checkpoint only
    assert by_path["model"].search == Choice(*sorted(drawn))
    for slot, registry in (("model", drawn), ("optimizer", optimizers)):
        for name, component in registry.items():
            for parameter, search in component.search_space().items():
                dimension = by_path.pop(f"{slot}.{name}.{parameter}")
                assert dimension.search == search
                assert dimension.when == (slot, name)
    assert set(by_path) == {"model", "optimizer"}


def test_auto_keeps_the_losses_that_fit_the_depth_and_the_link() -> None:
    assert "bce_dice" in depth_losses
    metric = {d.path: d for d in space({"loss.depth": "auto"}, "metric").dimensions}["loss.depth"]
    assert isinstance(metric.search, Choice)
    assert "bce_dice" not in metric.search.values
    raw = {d.path: d for d in space({"loss.depth": "auto"}, "relative", depth_link="identity").dimensions}["loss.depth"]
    assert isinstance(raw.search, Choice)
    assert "bce_dice" in raw.search.values
    assert "silog" not in raw.search.values


def test_auto_leaves_out_what_cannot_teach_alone() -> None:
    both = space({"loss.depth": "auto", "loss.mask": "auto"}, "metric")
    found = {d.path: d.search.values for d in both.dimensions if isinstance(d.search, Choice)}
    terms = {
        name for registry in (depth_losses, mask_losses) for name, one in registry.items() if one.facts.get("term")
    }
    assert {"gradient", "smoothness", "boundary"} <= terms
    assert not terms & {*found["loss.depth"], *found["loss.mask"]}
    assert {"silog", "l1"} <= set(found["loss.depth"])


def test_auto_leaves_out_what_some_trial_could_not_have() -> None:
    def optimizers_of(**experiment: Any) -> set[str]:
        search = experiment.pop("search", {}) | {"optimizer": "auto"}
        found = {d.path: d.search for d in space(search, "metric", **experiment).dimensions}["optimizer"]
        assert isinstance(found, Choice)
        return set(optimizers) - {str(name) for name in found.values}

    free = {"adamw_schedulefree", "sgd_schedulefree"}
    assert optimizers_of() == set()
    assert optimizers_of(schedule="one_cycle") == free
    assert optimizers_of(search={"schedule": "auto"}) == free
    assert optimizers_of(search={"training.ema_decay": [None, 0.99]}) == free
    assert optimizers_of(search={"groups.layer_decay": {"low": 0.5, "high": 1.0}}) == {"prodigy"}
    found = {d.path: d.search for d in space({"loss.depth": "auto", "depth_link": ["sigmoid", "identity"]}).dimensions}
    losses = found["loss.depth"]
    assert isinstance(losses, Choice)
    assert not {"silog", "log_l1", "bce_dice"} & set(losses.values)


def test_what_only_some_trials_could_have_is_refused_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        space({"optimizer": ["adamw", "prodigy"], "groups.encoder_lr": [0.1, 0.5, 1.0]})
    assert (
        "search.optimizer: optimizer 'prodigy' needs groups.encoder_lr to be 1, but it is 0.1 or 0.5 in some trials"
        in str(caught.value)
    )
    with pytest.raises(ConfigError, match=r"depth loss 'silog' needs depth_link to be .* but it is identity in some"):
        space({"depth_link": ["sigmoid", "identity"]}, loss={"mask": "bce", "depth": "silog"})


def test_an_explicit_range_replaces_the_components_own() -> None:
    found = space({"optimizer": ["adamw", "sgd"], "optimizer.adamw.lr": {"low": 1e-4, "high": 1e-3, "log": True}})
    lr = next(d for d in found.dimensions if d.path == "optimizer.adamw.lr")
    assert lr.search == Range(1e-4, 1e-3, log=True)
    assert lr.applies({"optimizer": "adamw"})
    assert not lr.applies({"optimizer": "sgd"})


def test_other_places_of_the_experiment_can_vary() -> None:
    found = space({"stages.0.batch_size": {"low": 4, "high": 16}, "training.ema_decay": [None, 0.99]})
    size, ema = found.dimensions
    assert size.whole
    assert size.ends() == (4, 16)
    raw = found.raw({"stages.0.batch_size": 5, "training.ema_decay": 0.99})
    config = parse_experiment(raw, "trial")
    assert config.stages[0].batch_size == 5
    assert config.training.ema_decay == 0.99
    assert ema.search == Choice(None, 0.99)


def test_drawn_values_make_the_experiment_of_the_trial() -> None:
    found = space({"model": ["depthmasknet", "unet"], "loss.depth": ["silog", "l1"]})
    kept = parse_experiment(found.raw({"model": "depthmasknet", "loss.depth": "l1"}), "trial")
    assert kept.model.width == 8  # type: ignore[attr-defined]
    other = parse_experiment(
        found.raw(
            {"model": "unet", "model.unet.encoder": "resnet18", "loss.depth": "silog", "loss.depth.silog.lam": 0.7}
        ),
        "trial",
    )
    assert other.model.component.name == "unet"
    assert other.loss.depth[0].loss.lam == 0.7  # type: ignore[attr-defined]


def test_every_problem_of_a_space_stands_in_one_message() -> None:
    with pytest.raises(ConfigError) as caught:
        space(
            {
                "model": ["depthmasknet", "unett"],
                "optimizer.sgd.lr": [0.1],
                "optimizer.adamw.lrr": [0.1],
                "stages.0.epoch": [1, 2],
                "seed": "auto",
                "training.clip_norm": {"low": 3, "high": 1},
            }
        )
    text = str(caught.value)
    assert "study 's' has 6 problems" in text
    assert "search.model: no model 'unett'; did you mean 'unet'?" in text
    assert "search.optimizer.sgd.lr: no 'sgd' is tried here; Known: adamw" in text
    assert "search.optimizer.adamw.lrr: optimizer 'adamw' has no 'lrr'; did you mean 'lr'?" in text
    assert "search.stages.0.epoch: the experiment has no 'epoch' here; did you mean 'epochs'?" in text
    assert "search.seed: 'auto' is for model, loss.mask" in text
    assert "search.training.clip_norm: `low` must be below `high`, but got low=3.0, high=1.0; swap them." in text


def test_types_of_ranges_follow_the_place() -> None:
    found = space(
        {"stages.0.batch_size": {"low": 4, "high": 16, "log": True}, "training.clip_norm": {"low": 1, "high": 9}}
    )
    size, clip = found.dimensions
    assert (size.whole, clip.whole) == (True, False)


def test_what_would_not_compare_is_not_searched() -> None:
    with pytest.raises(ConfigError, match="validation runs at the size of the last stage"):
        space({"stages.0.size": [32, 64]})
    with pytest.raises(
        ConfigError, match=r"the experiment adds up several of loss\.depth; a search varies a single one"
    ):
        space({"loss.depth": ["l1", "l2"]}, loss={"mask": "bce", "depth": ["l1", "gradient"]})


def test_data_without_backgrounds_tries_models_on_the_image_alone() -> None:
    config = study({"model": "auto"}, model={"name": "depthmasknet", "inputs": "image"})
    inputs = {
        d.path: d.search for d in build_space(config, "metric", has_background=False).dimensions if "inputs" in d.path
    }
    assert set(inputs.values()) == {Choice("image")}
    assert {*inputs} == {
        f"model.{name}.inputs"
        for name, component in models.items()
        if "inputs" in component.params.model_fields and component.facts.get("auto", True)
    }
    assert "model.depth_anything.inputs" not in inputs  # it is drawn by name only


def test_values_that_the_experiment_would_refuse_are_found_before_the_first_trial() -> None:
    with pytest.raises(ConfigError) as caught:
        space({"optimizer.adamw.lr": [0.001, -1], "depth_link": ["sigmoid", "tanh"]})
    text = str(caught.value)
    assert "search.optimizer.adamw.lr: -1 is not legal: must be greater than" in text
    assert (
        "search.depth_link: 'tanh' is not legal: must be 'auto', 'identity', 'sigmoid', 'softplus', 'exp' or 'inverse'"
        in text
    )


def test_the_number_of_trials_is_not_part_of_what_a_study_is() -> None:
    one, more = study({"seed": [1, 2]}), study({"seed": [1, 2]}).model_copy(update={"trials": 50})
    assert one.fingerprint == more.fingerprint
    assert one.fingerprint != study({"seed": [1, 3]}).fingerprint


def test_augment_auto_opens_the_ranges_of_the_steps_that_the_experiment_names() -> None:
    found = space({"augment": "auto"}, augment=["horizontal_flip", {"name": "rotation", "degrees": 9}])
    paths = {dimension.path for dimension in found.dimensions}
    assert paths == {"augment.steps.0.p", "augment.steps.1.degrees", "augment.steps.1.p"}
    drawn = found.raw({"augment.steps.0.p": 0.25, "augment.steps.1.degrees": 4.0})
    assert drawn["augment"]["steps"] == [
        {"name": "horizontal_flip", "p": 0.25},
        {"name": "rotation", "degrees": 4.0, "p": 0.5},
    ]
    flat = flatten(parse_experiment(drawn, "trial"))
    assert flat["augment"] == "horizontal_flip+rotation"
    assert (flat["augment.horizontal_flip.p"], flat["augment.rotation.degrees"]) == (0.25, 4.0)
    assert flat["augment.where"] == "cpu"
    narrower = space({"augment.steps.0.p": [0.0, 0.5]}, augment=["horizontal_flip"])
    assert narrower.dimensions[0].search == Choice(0.0, 0.5)
    with pytest.raises(ConfigError, match=r"search\.augment: the experiment names no augmentation whose"):
        space({"augment": "auto"})


def test_a_list_to_choose_from_names_nothing_twice() -> None:
    with pytest.raises(ConfigError) as caught:
        space(
            {
                "optimizer": ["adamw", "adamw"],
                "loss.mask": ["bce", "dice", "bce"],
                "training.ema_decay": [None, 0.9, None],
            }
        )
    text = str(caught.value)
    assert "search.optimizer: names one optimizer twice (adamw, adamw); leave one" in text
    assert "search.loss.mask: names one mask loss twice (bce, dice, bce); leave one" in text
    assert "search.training.ema_decay: `Choice` needs different values, but got (None, 0.9, None)." in text
