"""What every registered optimizer and schedule must do."""

import json
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

import dmx.training.optimizers
import dmx.training.schedules  # noqa: F401  register
from dmx.registry import Choice, optimizers, schedules
from dmx.training.schedules import Timeline

TIMELINE = Timeline((5, 8, 20))
every_optimizer = pytest.mark.parametrize("component", optimizers.values(), ids=list(optimizers))
every_schedule = pytest.mark.parametrize("component", schedules.values(), ids=list(schedules))


def valley(p: Tensor) -> Tensor:
    """A quadratic, ten times as steep in one direction, with its lowest point at (3, -2)."""
    return (p[0] - 3).square() + 10 * (p[1] + 2).square()


def descend(optimizer: Optimizer, p: Tensor, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        valley(p).backward()
        optimizer.step()


@every_optimizer
def test_optimizer_goes_downhill(component):
    p = nn.Parameter(torch.zeros(2))
    start = valley(p).item()
    descend(component.params().bind()([p]), p, 50)
    assert valley(p).item() < start


@every_optimizer
def test_optimizer_takes_the_ends_of_its_search_ranges(component):
    for name, search in component.search_space().items():
        for value in search.values if isinstance(search, Choice) else (search.low, search.high):
            p = nn.Parameter(torch.zeros(2))
            optimizer = component.params(**{name: value}).bind()([p])
            descend(optimizer, p, 1)
            assert optimizer.param_groups[0][name] == value
            assert p.isfinite().all()


@every_optimizer
def test_optimizer_goes_on_from_its_state(component):
    p = nn.Parameter(torch.zeros(2))
    optimizer = component.params().bind()([p])
    descend(optimizer, p, 3)
    q = nn.Parameter(p.detach().clone())
    resumed = component.params().bind()([q])
    resumed.load_state_dict(deepcopy(optimizer.state_dict()))  # which is not a copy
    descend(optimizer, p, 3)
    descend(resumed, q, 3)
    assert torch.equal(p, q)


@every_optimizer
def test_a_kernel_goes_downhill_and_on_from_its_state(component):
    """Some have a way of their own for what is more than a vector."""
    target = torch.linspace(-1, 2, 6 * 5 * 9).view(6, 5, 3, 3)

    def steps(optimizer: Optimizer, p: Tensor, seeds: range) -> None:
        for seed in seeds:
            noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(seed))
            optimizer.zero_grad()
            (p - target - 0.1 * noise).square().sum().backward()
            optimizer.step()

    p = nn.Parameter(torch.zeros_like(target))
    start = (p - target).square().sum().item()
    optimizer = component.params().bind()([p])
    steps(optimizer, p, range(20))
    assert (p - target).square().sum().item() < start
    q = nn.Parameter(p.detach().clone())
    resumed = component.params().bind()([q])
    resumed.load_state_dict(deepcopy(optimizer.state_dict()))
    steps(optimizer, p, range(20, 23))
    steps(resumed, q, range(20, 23))
    assert torch.equal(p, q)


@every_optimizer
def test_optimizer_keeps_the_rate_and_decay_of_each_group(component):
    fields = component.params.model_fields
    groups = [{"params": [nn.Parameter(torch.ones(2))], "lr": 0.5}, {"params": [nn.Parameter(torch.ones(2))]}]
    if "weight_decay" in fields:
        groups[1]["weight_decay"] = 0.25
    optimizer = component.params(lr=0.125).bind()(groups)
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.125]
    if "weight_decay" in fields:
        assert optimizer.param_groups[1]["weight_decay"] == 0.25


@every_optimizer
def test_optimizers_state_can_be_kept_in_a_file_that_runs_nothing(component, tmp_path):
    p = nn.Parameter(torch.zeros(2))
    optimizer = component.params().bind()([p])
    descend(optimizer, p, 3)
    torch.save(optimizer.state_dict(), tmp_path / "state.pt")
    again = torch.load(tmp_path / "state.pt", weights_only=True)
    assert again["param_groups"] == optimizer.state_dict()["param_groups"]


def scheduled(component) -> tuple[Optimizer, LRScheduler]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    return optimizer, component.params().bind()(optimizer, TIMELINE)


def rates(optimizer: Optimizer, schedule: LRScheduler, steps: int) -> list[float]:
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


@every_schedule
def test_schedule_keeps_within_the_learning_rate(component):
    seen = rates(*scheduled(component), TIMELINE.total + 5)
    assert all(0 <= rate <= 0.5 for rate in seen)
    assert max(seen) == pytest.approx(0.5)
    assert seen[: TIMELINE.total][-1] > 0  # the last step still learns


@every_schedule
def test_schedule_goes_on_from_its_state_through_json(component):
    optimizer, schedule = scheduled(component)
    rates(optimizer, schedule, 7)
    other_optimizer, resumed = scheduled(component)
    other_optimizer.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(json.loads(json.dumps(schedule.state_dict())))
    assert rates(other_optimizer, resumed, 13) == rates(optimizer, schedule, 13)
