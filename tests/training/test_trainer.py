"""The loop on real, tiny runs: resuming, outcomes, stages, averaging, the pinned losses of the baseline."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.running import StopAt, Values, assert_same_bits, execute, points, state
from safetensors.torch import load_file

from dmx.config import parse_experiment
from dmx.data.pack.form import VERSION
from dmx.experiment import prepare
from dmx.outcome import Outcome
from dmx.tracking import Home
from dmx.tracking.home import BEST_WEIGHTS

Make = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("steps", [1, 3, 4])
def test_a_run_interrupted_anywhere_ends_in_the_same_bits(tiny: Make, tmp_path: Path, steps: int) -> None:
    settings = {"log_every": 2, "ema_decay": 0.9, "clip_norm": 1.0}
    data = tiny(training=settings, weighting="uncertainty", schedule="one_cycle")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert execute(data, whole).outcome is Outcome.COMPLETE

    first = execute(data, parts, StopAt(steps))
    assert first.outcome is Outcome.INTERRUPTED
    assert first.steps == steps
    assert "SIGINT" in first.reason
    assert execute(data, parts).outcome is Outcome.COMPLETE

    one, other = state(whole), state(parts)
    del one["position"]["seconds"], other["position"]["seconds"]
    del one["random"]["python"], other["random"]["python"]  # the type checker of the tests draws from it
    assert_same_bits(one, other)
    assert_same_bits(load_file(whole / "runs/r" / BEST_WEIGHTS), load_file(parts / "runs/r" / BEST_WEIGHTS))
    timeless = {key: value for key, value in points(whole).items() if not key[0].startswith("system/")}
    assert timeless == {key: value for key, value in points(parts).items() if not key[0].startswith("system/")}


def test_the_same_configuration_gives_the_same_bits_and_another_seed_does_not(tiny: Make, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        execute(tiny(seed=seed), tmp_path / name)
    weights = {name: state(tmp_path / name)["model"] for name in "abc"}
    assert_same_bits(weights["a"], weights["b"])
    assert any(not torch.equal(weights["a"][key], weights["c"][key]) for key in weights["a"])


def test_stages_go_on_with_the_same_weights_and_validate_at_the_last_size(tiny: Make, tmp_path: Path) -> None:
    stages = [{"epochs": 1, "size": 16, "batch_size": 12}, {"epochs": 1, "size": [32, 48], "batch_size": 6}]
    prepared = prepare(parse_experiment(tiny(stages=stages), "test"), Home(tmp_path))
    assert {tuple(batch.image.shape[2:]) for batch in prepared.loaders.val()} == {(32, 48)}
    sizes = [tuple(next(iter(prepared.loaders.train(stage, 0, 0))).image.shape) for stage in prepared.config.stages]
    assert sizes == [(12, 3, 16, 16), (6, 3, 32, 48)]
    result = execute(tiny(stages=stages), tmp_path)
    assert (result.outcome, result.epochs, result.steps) == (Outcome.COMPLETE, 2, 2 + 4)


@pytest.mark.timeout(120)
def test_loader_processes_give_what_memory_gives_and_do_not_hang(tiny: Make, tmp_path: Path) -> None:
    """Workers are forked anew each epoch, after validation has used OpenCV in this process."""
    data = tiny(augment=["horizontal_flip", "rotation", "gaussian_noise"])
    execute(data, tmp_path / "memory")
    for cache in ("none", "disk"):
        data["data"] |= {"cache": cache, "workers": 2}
        assert execute(data, tmp_path / cache).outcome is Outcome.COMPLETE
        assert_same_bits(state(tmp_path / "memory")["model"], state(tmp_path / cache)["model"])
    packs = [path.name for path in (tmp_path / "disk/packs").iterdir() if path.is_dir()]
    assert [name[25:34] for name in packs] == [
        f"-32x32-v{VERSION}"
    ]  # behind the fingerprint of the data and of their dates


@pytest.mark.parametrize("where", ["cpu", "device"])
def test_augmentation_changes_training_and_a_resumed_run_draws_the_same(tiny: Make, tmp_path: Path, where: str) -> None:
    augment = {"steps": [{"name": "rotation", "degrees": 20.0, "p": 1.0}, "brightness"], "where": where}
    plain, whole = tiny(), tiny(augment=augment)
    execute(plain, tmp_path / "plain")
    execute(whole, tmp_path / "whole")
    execute(whole, tmp_path / "stopped", progress=StopAt(3))
    execute(whole, tmp_path / "stopped")
    found = {name: state(tmp_path / name)["model"] for name in ("plain", "whole", "stopped")}
    assert_same_bits(found["whole"], found["stopped"])
    assert any(not torch.equal(found["plain"][key], found["whole"][key]) for key in found["plain"])


def test_best_keeps_every_metric_of_one_epoch(tiny: Make, tmp_path: Path) -> None:
    result = execute(tiny(), tmp_path)
    logged = points(tmp_path)
    assert result.best is not None
    by_epoch = {step: logged["val/depth/rmse_pooled", step] for name, step in logged if name == "val/depth/rmse_pooled"}
    assert result.best.value == min(by_epoch.values())
    for name, value in result.best.metrics.items():
        if value is not None:
            assert logged[name, result.best.step] == value


def test_bfloat16_forward_gives_finite_float32_losses(tiny: Make, tmp_path: Path) -> None:
    watched = Values()
    execute(tiny(training={"precision": "bfloat16", "log_every": 1}), tmp_path, watched)
    assert len(watched.losses) == 6
    assert all(0 < loss < 100 for loss in watched.losses)


@pytest.mark.slow
@pytest.mark.parametrize("weighting", ["fixed", "pcgrad"])  # in this order: what the first leaves in caches is no harm
def test_compiled_training_is_close_to_plain_training(tiny: Make, tmp_path: Path, weighting: str) -> None:
    """With SGD, because Adam's first steps make the signs of the smallest gradients, and so of rounding, into steps."""
    plain, compiled = Values(), Values()
    stages = [{"epochs": 1, "size": 32, "batch_size": 8}]
    data = tiny(stages=stages, weighting=weighting, optimizer={"name": "sgd", "lr": 1e-3})
    execute(data, tmp_path / "plain", plain)
    execute({**data, "training": {"compile": True, "log_every": 1}}, tmp_path / "compiled", compiled)
    assert compiled.losses == pytest.approx(plain.losses, rel=1e-3)


def test_the_golden_losses_of_the_baseline(tiny: Make, tmp_path: Path) -> None:
    """Four steps of the published network. They move only if model, loss, data, order or update change."""
    watched = Values()
    data = tiny(
        model="depthmasknet",
        depth_link="sigmoid",
        stages=[{"epochs": 2, "size": 32, "batch_size": 12}],
        training={"log_every": 1, "channels_last": False, "compile": False, "precision": "float32"},
    )
    execute(data, tmp_path, watched)
    assert watched.losses[:4] == pytest.approx(GOLDEN, rel=1e-3)


GOLDEN = [1.7683758735656738, 1.8378732204437256, 1.5937137603759766, 1.2739084959030151]
