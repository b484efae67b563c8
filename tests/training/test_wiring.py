"""Weightings, schedules and optimizers that need more of the loop than a step get it, and again in a resumed run."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.running import StopAt, assert_same_bits, execute, points, state
from safetensors.torch import load_file

from dmx.outcome import Outcome
from dmx.tracking.home import BEST_WEIGHTS

Make = Callable[..., dict[str, Any]]
STAGES = [{"epochs": 5, "size": 32, "batch_size": 12}]  # 2 steps an epoch
STEPS = 2
NEEDY: dict[str, dict[str, Any]] = {
    "plateau": {"schedule": {"name": "plateau", "patience": 0, "gamma": 0.5}, "optimizer": {"name": "sgd", "lr": 0.5}},
    "dwa": {"weighting": "dwa"},
    "famo": {"weighting": "famo"},
    "rlw": {"weighting": "rlw"},
    "gradnorm": {"weighting": "gradnorm"},
    "nash_mtl": {"weighting": {"name": "nash_mtl", "gradients_of": "features"}},
    "schedule_free": {"optimizer": {"name": "adamw_schedulefree", "lr": 0.01}},
    "prodigy": {"optimizer": "prodigy"},
}


def series(home: Path, name: str) -> dict[int, float]:
    """A curve by step."""
    return {step: value for (key, step), value in points(home).items() if key == name}


@pytest.mark.parametrize("steps", [3, 6])
@pytest.mark.parametrize("name", NEEDY)
def test_a_run_resumed_within_or_between_epochs_ends_in_the_same_bits(
    tiny: Make, tmp_path: Path, name: str, steps: int
) -> None:
    data = tiny(stages=STAGES, **NEEDY[name])
    execute(data, tmp_path / "whole")
    assert execute(data, tmp_path / "parts", StopAt(steps)).outcome is Outcome.INTERRUPTED
    execute(data, tmp_path / "parts")
    one, other = state(tmp_path / "whole"), state(tmp_path / "parts")
    for key in ("model", "loss", "optimizer", "schedule"):
        assert_same_bits(one[key], other[key])
    assert_same_bits(*(load_file(tmp_path / part / "runs/r" / BEST_WEIGHTS) for part in ("whole", "parts")))


@pytest.mark.parametrize("metric", ["val/depth/rmse_pooled", "val/mask/iou_pooled"])
def test_the_plateau_sees_the_objective_in_its_direction(tiny: Make, tmp_path: Path, metric: str) -> None:
    execute(tiny(stages=STAGES, objective=metric, **NEEDY["plateau"]), tmp_path)
    values = list(series(tmp_path, metric).values())
    sign = -1 if metric == "val/mask/iou_pooled" else 1
    factor, best, expected = 1.0, float("inf"), []
    for value in values:
        expected += [0.5 * factor] * STEPS
        if sign * value < best - 1e-4 * abs(best) if best < float("inf") else True:
            best = sign * value
        else:
            factor *= 0.5
    assert list(series(tmp_path, "train/learning_rate").values()) == pytest.approx(expected)
    *seen, _ = values  # no step follows the last one
    assert len(set(expected)) > 1 or seen == sorted(seen, reverse=sign > 0)


def test_dynamic_weights_follow_the_mean_losses_of_the_last_two_epochs(tiny: Make, tmp_path: Path) -> None:
    execute(tiny(stages=STAGES, **NEEDY["dwa"]), tmp_path)
    losses = torch.tensor([list(series(tmp_path, f"train/loss/{task}").values()) for task in ("mask", "depth")])
    means = losses.unflatten(1, (-1, STEPS)).mean(2).T  # by epoch
    weights = torch.tensor([list(series(tmp_path, f"train/weight/{task}").values()) for task in ("mask", "depth")])
    expected = [torch.ones(2), torch.ones(2)]
    expected += [2 * torch.softmax(newer / older / 2.0, 0) for older, newer in pairwise(list(means)[:-1])]
    for epoch, (got, wanted) in enumerate(zip(weights.T[::STEPS], expected, strict=True)):
        assert torch.allclose(got, wanted, atol=1e-5), epoch
    assert (weights[0, 2 * STEPS :] != 1).all()


def test_schedule_free_weights_are_averaged_where_they_are_looked_at_and_only_there(tiny: Make, tmp_path: Path) -> None:
    """Training is at y = x + (1 - β1)(z - x); what is kept is the average x (Defazio et al. 2024)."""
    execute(tiny(stages=[{**STAGES[0], "epochs": 1}], **NEEDY["schedule_free"]), tmp_path)
    last, kept = state(tmp_path), load_file(tmp_path / "runs/r" / BEST_WEIGHTS)
    names = [name for name in last["model"] if name.endswith(("weight", "bias"))]
    for group in last["optimizer"]["param_groups"]:
        assert group["train_mode"]
    z = {tuple(held["z"].shape): [] for held in last["optimizer"]["state"].values()}
    for held in last["optimizer"]["state"].values():
        z[tuple(held["z"].shape)].append(held["z"])
    moved = 0
    for name in names:
        y, x = last["model"][name], kept[name]
        if torch.equal(y, x):  # never stepped from, as without a gradient
            continue
        candidates = [y + (1 - 1 / 0.9) * (one - y) for one in z[tuple(y.shape)]]
        assert any(torch.allclose(x, one, atol=1e-6) for one in candidates), name
        moved += 1
    assert moved > len(names) / 2
