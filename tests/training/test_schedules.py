import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, MultiStepLR, OneCycleLR

from dmx.training.schedules import Timeline, constant, cosine, one_cycle, step_decay

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
