import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
)

from dmx.training.schedules import (
    Timeline,
    constant,
    cosine,
    cosine_restarts,
    exponential,
    multi_step,
    one_cycle,
    plateau,
    polynomial,
    step_decay,
)

TIMELINE = Timeline((4, 6, 10))  # epochs of 4, 2 and 4 steps


def rates(make, steps: int, lr: float = 1.0) -> list[float]:
    """The learning rate at each of the steps, of a schedule or torch's scheduler of an optimizer."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)
    schedule, seen = make(optimizer), []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def test_constant():
    assert rates(lambda o: constant(o, TIMELINE), 12, lr=0.3) == [0.3] * 12


def test_step_by_hand():
    """Cut after each epoch, however many steps it has."""
    expected = [1.0] * 4 + [0.1] * 2 + [0.01] * 4 + [0.001]
    assert rates(lambda o: step_decay(o, TIMELINE), 11) == pytest.approx(expected)
    assert rates(lambda o: step_decay(o, TIMELINE, every=2), 10) == pytest.approx([1.0] * 6 + [0.1] * 4)


def test_step_is_torchs():
    expected = rates(lambda o: MultiStepLR(o, [4, 6, 10], gamma=0.5), 12)
    assert rates(lambda o: step_decay(o, TIMELINE, gamma=0.5), 12) == pytest.approx(expected)


def test_cosine_is_torchs():
    expected = rates(lambda o: CosineAnnealingLR(o, T_max=10, eta_min=0.2), 10)
    assert rates(lambda o: cosine(o, TIMELINE, floor=0.2), 10) == pytest.approx(expected)


def test_cosine_with_warmup_by_hand():
    """4 of 10 steps rise by fifths; then half a cosine over the other 6."""
    expected = [0.2, 0.4, 0.6, 0.8] + [(1 + math.cos(math.pi * k / 6)) / 2 for k in range(6)]
    assert rates(lambda o: cosine(o, TIMELINE, warmup=0.4), 10) == pytest.approx(expected)


@pytest.mark.parametrize("make", [constant, step_decay, multi_step, exponential, polynomial, cosine, cosine_restarts])
def test_every_warmup_is_a_straight_rise(make):
    """4 of 10 steps rise by fifths; the step after them has the whole learning rate, or what the epoch leaves of it."""
    seen = rates(lambda o: make(o, TIMELINE, warmup=0.4), 10)
    assert seen[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert seen[4] == pytest.approx(0.1 if make is step_decay else 1.0)


def test_multi_step_is_torchs():
    expected = rates(lambda o: MultiStepLR(o, [5, 8], gamma=0.3), 12)
    assert rates(lambda o: multi_step(o, TIMELINE, gamma=0.3, second=0.8), 12) == pytest.approx(expected)


def test_exponential_is_torchs():
    expected = rates(lambda o: ExponentialLR(o, gamma=0.02 ** (1 / 10)), 11)
    assert rates(lambda o: exponential(o, TIMELINE, end=0.02), 11) == pytest.approx(expected)


def test_polynomial_is_torchs():
    expected = rates(lambda o: PolynomialLR(o, total_iters=10, power=0.9), 12)
    assert rates(lambda o: polynomial(o, TIMELINE), 12) == pytest.approx(expected)


def test_restarts_are_torchs():
    """Cycles of 2, 4 and 8 steps fill 14."""
    expected = rates(lambda o: CosineAnnealingWarmRestarts(o, T_0=2, T_mult=2, eta_min=0.1), 14)
    seen = rates(lambda o: cosine_restarts(o, Timeline((14,)), cycles=3, growth=2.0, floor=0.1), 16)
    assert seen[:14] == pytest.approx(expected)
    assert seen[14:] == [0.1, 0.1]  # torch would rise again


@settings(deadline=None)
@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=30), st.integers(0, 3))
def test_plateau_is_torchs(values, patience):
    optimizers = [torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0) for _ in range(2)]
    ours = plateau(optimizers[0], TIMELINE, gamma=0.5, patience=patience, threshold=1e-2)
    torchs = ReduceLROnPlateau(optimizers[1], factor=0.5, patience=patience, threshold=1e-2, eps=0)
    for value in values:
        ours.epoch_ended(value)
        torchs.step(value)
        optimizers[0].step()
        ours.step()
        assert optimizers[0].param_groups[0]["lr"] == pytest.approx(optimizers[1].param_groups[0]["lr"])


def test_plateau_knows_better_below_zero():
    """Where torch's takes any value for a better one: an objective to be maximised comes with its sign turned."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = plateau(optimizer, TIMELINE, gamma=0.5, patience=1)
    for value in (-0.8, -0.8, -0.79999, -0.8):
        schedule.epoch_ended(value)
    optimizer.step()
    schedule.step()
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_groups_keep_the_ratio_of_their_rates():
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (1.0, 0.1)]
    optimizer = torch.optim.SGD(groups)
    schedule = cosine(optimizer, TIMELINE, warmup=0.2)
    for _ in range(9):
        first, second = (group["lr"] for group in optimizer.param_groups)
        assert second == pytest.approx(0.1 * first)
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize("warmup", [0.2, 0.3, 0.5])
def test_one_cycle_is_torchs(warmup):
    def torchs(optimizer):
        return OneCycleLR(optimizer, 1.0, total_steps=10, pct_start=warmup, cycle_momentum=False)

    assert rates(lambda o: one_cycle(o, TIMELINE, warmup=warmup), 10) == pytest.approx(rates(torchs, 10))


def test_one_cycle_where_torchs_divides_by_zero():
    """A tenth of 10 steps: torch takes the rise to end at step 0."""
    seen = rates(lambda o: one_cycle(o, TIMELINE, warmup=0.1), 10)
    assert seen[0] == 1
    assert seen == sorted(seen, reverse=True)


@settings(deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.floats(0, 0.99))
def test_every_timeline_keeps_within_the_learning_rate(lengths, warmup):
    timeline = Timeline(tuple(sum(lengths[: i + 1]) for i in range(len(lengths))))
    for make in (cosine, one_cycle):
        seen = rates(lambda o, make=make: make(o, timeline, warmup=warmup), timeline.total + 3)
        assert all(0 <= rate <= 1 for rate in seen)
        assert seen[-1] == pytest.approx(seen[-2])  # past the end it stays where it is


@pytest.mark.parametrize(("step", "epoch"), [(0, 0), (3, 0), (4, 1), (5, 1), (6, 2), (9, 2), (10, 3)])
def test_timeline_knows_the_epoch(step, epoch):
    assert TIMELINE.epoch(step) == epoch


def test_timeline_knows_its_length():
    assert TIMELINE.total == 10


@pytest.mark.parametrize("ends", [(), (0,), (4, 4), (4, 2)])
def test_timeline_with_an_epoch_without_steps_is_refused(ends):
    with pytest.raises(
        ValueError, match=r"^`epoch_ends` must rise from above 0, but got \(.*; each epoch needs a step"
    ):
        Timeline(ends)
