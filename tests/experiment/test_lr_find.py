"""The range test on curves made by hand and on a tiny real run."""

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dmx.config import parse_experiment
from dmx.errors import UserError
from dmx.experiment import prepare
from dmx.experiment.lr_find import MEMORY, Curve, exploded, find, range_test, rate, smooth, view
from dmx.experiment.prepare import Prepared
from dmx.experiment.run import learner_of
from dmx.outcome import Outcome
from dmx.tracking import Home
from dmx.tracking.journal import ArtifactLogged, Finished, MetricsLogged, read

Make = Callable[..., dict[str, Any]]


def prepared_of(tiny: Make, home: Path, **changes: Any) -> Prepared:
    return prepare(parse_experiment(tiny(**changes), "test"), Home(home))


def curve_of(losses: list[float]) -> Curve:
    """These losses, smooth as they are, at rates from 1e-4 to 1."""
    rates = tuple(rate(1e-4, 1.0, k, len(losses)) for k in range(len(losses)))
    return Curve(rates, tuple(losses), tuple(losses), "")


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=30))
def test_smoothing_is_adams_corrected_mean(losses: list[float]) -> None:
    """m = β m + (1 - β) L, divided by 1 - β^n (Kingma and Ba 2015, algorithm 1)."""
    m = 0.0
    for L in losses:
        m = MEMORY * m + (1 - MEMORY) * L
    assert smooth(losses) == pytest.approx(m / (1 - MEMORY ** len(losses)), abs=1e-9)


def test_suggestions_of_a_slope_and_a_rise() -> None:
    """41 steps, ten to a power of ten: level to 1e-3, down by 1 to 1e-2, level to 1e-1, up; steepest at 10^-2.5."""
    losses = [2.0] * 10 + [2 - k / 10 for k in range(10)] + [1.0] * 10 + [0.99] + [1 + k for k in range(10)]
    curve = curve_of(losses)
    assert curve.lowest == 30
    assert curve.tenth == pytest.approx(0.1 / 10)
    assert curve.steepest is not None
    assert 1e-3 < curve.steepest < 1e-2


def test_the_steepest_point_of_a_noisy_sigmoid_is_its_middle() -> None:
    k = np.arange(101)
    noise = np.random.default_rng(0).normal(0, 0.005, 101)
    curve = curve_of(list(1 / (1 + np.exp((k - 60) / 4)) + noise))
    assert curve.steepest is not None
    assert abs(math.log10(curve.steepest) - math.log10(curve.rates[60])) < 0.15


@pytest.mark.parametrize("losses", [[1.0] * 30, [1 + k / 10 for k in range(30)], [1.0, 0.9]])
def test_a_loss_that_does_not_fall_suggests_nothing(losses: list[float]) -> None:
    assert (curve_of(losses).steepest, curve_of(losses).tenth) == (None, None)


@pytest.mark.parametrize(
    ("smoothed", "expected"),
    [
        ([1.0, 0.2, 0.9], False),  # 4.5 times the lowest, but below the first
        ([1.0, 0.3, 1.1], False),  # above the first, but 3.7 times the lowest
        ([1.0, 0.2, 1.1], True),
        ([-1.0, -2.0, 3.9], False),  # -2 + 3 · 2 = 4
        ([-1.0, -2.0, 4.1], True),
    ],
)
def test_explosions(smoothed: list[float], expected: bool) -> None:
    assert exploded(smoothed) is expected


def test_the_plot_shows_the_valley_not_the_explosion() -> None:
    low, high = view([*np.linspace(2, 1, 97), 5.0, 100.0, 1e6])
    assert 0.9 < low < 1
    assert 2 < high < 3


def test_the_rate_rises_until_the_loss_explodes(tiny: Make, tmp_path: Path) -> None:
    prepared = prepared_of(tiny, tmp_path, optimizer={"name": "sgd", "lr": 0.3}, schedule="cosine")
    seen: list[tuple[int, float]] = []
    curve = range_test(prepared, 1e-4, 1e4, 60, lambda step, rate, loss, smoothed: seen.append((step, rate)))
    assert curve.rates[0] == pytest.approx(1e-4)
    factors = [after / before for before, after in pairwise(curve.rates)]
    assert factors == pytest.approx([(1e8) ** (1 / 59)] * len(factors))
    assert len(curve.rates) < 60
    assert "at learning rate" in curve.ended
    assert seen == list(enumerate(curve.rates))
    assert not list(tmp_path.iterdir()), "a test writes nothing by itself"


def test_the_first_steps_are_those_of_training(tiny: Make, tmp_path: Path) -> None:
    """At a rate that is too low to change anything in 5 steps the losses are those of an untrained model."""
    curve = range_test(prepared_of(tiny, tmp_path), 1e-12, 1e-11, 5)
    assert curve.ended == ""
    prepared = prepared_of(tiny, tmp_path)
    learner = learner_of(prepared)
    stage = prepared.config.stages[0]
    batches = [batch for epoch in range(2) for batch in prepared.loaders.train(stage, epoch, 0)][:5]
    learner.model.train()
    expected = []
    for batch in batches:
        losses, _ = learner.loss(learner.model(batch.image, batch.background), batch)
        expected.append(learner.loss.weighting(losses).item())
    assert curve.losses == pytest.approx(expected, rel=1e-4)


def test_groups_keep_the_ratio_of_their_rates(tiny: Make, tmp_path: Path) -> None:
    """At a billionth of the rate the encoder stays where it is; all else moves."""
    optimizer = {"name": "sgd", "lr": 0.1, "momentum": 0.0}
    prepared = prepared_of(tiny, tmp_path, optimizer=optimizer, groups={"encoder_lr": 1e-9})
    before = {name: parameter.detach().clone() for name, parameter in prepared.model.named_parameters()}
    range_test(prepared, 1e-3, 1e-2, 3)
    moved = {name: not torch.allclose(parameter, before[name]) for name, parameter in prepared.model.named_parameters()}
    assert not any(moved[name] for name in moved if ".encoder." in name)
    assert all(moved[name] for name in moved if "decoder" in name and name.endswith(".weight") and "head" in name)


def test_a_model_that_is_broken_from_the_start_says_so(tiny: Make, tmp_path: Path) -> None:
    prepared = prepared_of(tiny, tmp_path)
    name, first = next(prepared.model.named_parameters())
    torch.nn.init.constant_(first, math.nan)
    with pytest.raises(UserError) as caught:
        range_test(prepared, 1e-5, 1.0, 10)
    assert str(caught.value) == (
        f"lr-find: parameter {name} is not finite at learning rate 1e-05, before any update of the weights; look for "
        "the fault in data and losses."
    )


def test_each_test_is_a_run_of_its_own(tiny: Make, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    for _ in range(2):
        curve, plot = find(prepared_of(tiny, home.root), home, 1e-5, 100.0, 30, lambda done, total: None, stores=False)
    assert plot == home.root / "lr-find" / "tiny.png"
    assert sorted(path.name for path in (home.root / "runs").iterdir()) == ["lr-find-tiny-1", "lr-find-tiny-2"]
    folder = home.run("lr-find-tiny-2")
    assert not list(folder.glob("*.pt"))
    assert not list(folder.glob("*.safetensors"))
    events = [event for event, _ in read(folder / "journal.jsonl")]
    measured = [event for event in events if isinstance(event, MetricsLogged)]
    rates = [event.values["lr_find/rate"] for event in measured if "lr_find/rate" in event.values]
    assert tuple(rates) == pytest.approx(curve.rates)
    assert measured[-1].values["lr_find/steepest"] == curve.steepest
    assert measured[-1].values["lr_find/tenth_of_lowest"] == curve.tenth
    (kept,) = [event for event in events if isinstance(event, ArtifactLogged)]
    assert (folder / kept.file).read_bytes() == plot.read_bytes()
    assert isinstance(events[-1], Finished)
    assert events[-1].outcome == Outcome.COMPLETE.value


@pytest.mark.parametrize("weighting", ["uncertainty", "rlw"])
def test_the_weighting_does_not_move_the_curve(tiny: Make, tmp_path: Path, weighting: str) -> None:
    """At rates at which nothing is learned the curve is that of the losses, not of what the weights make of them."""
    size = {"stages": [{"epochs": 1, "size": 32, "batch_size": 24}]}
    curve = range_test(prepared_of(tiny, tmp_path, weighting=weighting, **size), 1e-9, 2e-9, 4)
    assert curve.losses == pytest.approx([curve.losses[0]] * 4, rel=1e-3)
