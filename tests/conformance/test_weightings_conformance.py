"""What every registered weighting must do, by its kind."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import dmx.weighting  # noqa: F401  register
from dmx.registry import Choice, weightings
from dmx.weighting.kinds import GradientWeighting, LossWeighting

TASKS = ("mask", "depth")
BY_LOSSES = {name: one for name, one in weightings.items() if one.facts["by"] == "losses"}
BY_GRADIENTS = {name: one for name, one in weightings.items() if one.facts["by"] == "gradients"}
RANDOM = {"rlw"}
every_weighting = pytest.mark.parametrize("component", weightings.values(), ids=list(weightings))
by_losses = pytest.mark.parametrize("component", BY_LOSSES.values(), ids=list(BY_LOSSES))
by_gradients = pytest.mark.parametrize("component", BY_GRADIENTS.values(), ids=list(BY_GRADIENTS))


class NoWaiting(TorchDispatchMode):
    """Fails where a tensor's values are read or decide a shape: on a GPU, that waits for all work before it."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        waits = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "unique", "_linalg_eigh")
        assert function.__name__.split(".")[0] not in waits, function
        return function(*args, **(kwargs or {}))


def gradients(seed: int, tasks: int = 2) -> Tensor:
    """One row for each task, of very different lengths; most angles and conflicts come up."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(tasks, 3, generator=generator, dtype=torch.float64) * torch.logspace(-1, 1, tasks)[:, None]


def run(weighting: nn.Module, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """One step, from which a weighting may learn; gives the total, or the weights of the gradients."""
    g = gradients(seed, len(weighting.tasks)).to(dtype)
    losses = g.norm(dim=1) + 0.1
    if isinstance(weighting, GradientWeighting):
        return weighting(losses, g @ g.T)
    total = weighting(dict(zip(weighting.tasks, losses, strict=True)))
    weighting.zero_grad()
    if total.requires_grad:
        total.backward()
        with torch.no_grad():
            for parameter in weighting.parameters():
                parameter -= 0.1 * parameter.grad
    return total.detach()


def series(weighting: nn.Module, seeds: range) -> list[tuple[Tensor, dict[str, float]]]:
    """Results and weights over steps, with an epoch ending after each."""
    seen = []
    for seed in seeds:
        seen.append((run(weighting, seed), weighting.weights()))
        weighting.epoch_ended()
    return seen


def settings(component):
    """The defaults, and each end of each search range or choice."""
    yield component.params()
    for name, search in component.search_space().items():
        for value in search.values if isinstance(search, Choice) else (search.low, search.high):
            yield component.params(**{name: value})


@every_weighting
def test_says_its_kind(component):
    kind = LossWeighting if component.facts["by"] == "losses" else GradientWeighting
    weighting = component.params().bind()(TASKS)
    assert isinstance(weighting, kind)
    assert list(weighting.weights()) == list(TASKS)


@by_losses
def test_weights_are_what_the_losses_are_multiplied_by(component):
    for params in settings(component):
        weighting = params.bind()(TASKS)
        for step in range(4):  # in the last, the weights have left their start
            losses = {t: torch.tensor(i + 1.5 / (step + 1), requires_grad=True) for i, t in enumerate(TASKS)}
            total = weighting(losses)
            total.backward()
            assert total.shape == ()
            assert {t: loss.grad.item() for t, loss in losses.items()} == pytest.approx(weighting.weights())
            weighting.epoch_ended()


@by_gradients
def test_weights_are_what_was_given(component):
    for params in settings(component):
        weighting = params.bind()(TASKS)
        assert set(weighting.weights().values()) == {1.0}
        for seed in range(4):
            alpha = run(weighting, seed)
            assert alpha.shape == (2,)
            assert not alpha.requires_grad
            assert list(weighting.weights().values()) == pytest.approx(alpha.tolist())


@every_weighting
def test_keeps_the_type(component):
    weighting = component.params().bind()(TASKS)
    assert run(weighting, 0, torch.float64).dtype == torch.float64
    assert run(component.params().bind()(TASKS), 0, torch.float32).dtype == torch.float32


@every_weighting
@pytest.mark.parametrize("tasks", [1, 3])
def test_takes_any_number_of_tasks(component, tasks):
    if component.name == "fixed" and tasks == 3:
        pytest.skip("fixed has a parameter for each task, so it knows them by name")
    weighting = component.params().bind()(TASKS[1:] if tasks == 1 else ("a", "b", "c"))
    for result, weights in series(weighting, range(4)):
        assert result.isfinite().all()
        assert len(weights) == tasks


@by_gradients
def test_one_task_alone_has_weight_1(component):
    for params in settings(component):
        assert run(params.bind()(("depth",)), 0).tolist() == pytest.approx([1], rel=1e-6)


@by_gradients
def test_depends_on_no_order_and_no_common_scale(component):
    for params in settings(component):
        there, back, larger = (params.bind()(TASKS) for _ in range(3))
        for seed in range(20):
            g = gradients(seed)
            L = g.norm(dim=1) + 0.1
            alpha = there(L, g @ g.T)
            assert torch.allclose(back(L.flip(0), g.flip(0) @ g.flip(0).T).flip(0), alpha, rtol=1e-5, atol=1e-7)
            assert torch.allclose(larger(L, 1e8 * g @ g.T), alpha, rtol=1e-5, atol=1e-7)


@by_gradients
def test_knows_the_extremes(component):
    """Parallel, opposite, zero and nearly parallel gradients, in float32 as in training."""
    cases = [[1.0, 1.0], [1.0, -1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [1e-12, 1.0], [1.0, 1e12], [1e-30, 1e-30]]
    for case in cases:
        g = torch.tensor(case)[:, None]
        for params in settings(component):
            weighting = params.bind()(TASKS)
            for _ in range(3):
                alpha = weighting(torch.ones(2), g @ g.T)
                assert alpha.isfinite().all(), case
            if case in ([1.0, 0.0], [0.0, 1.0]):
                assert (alpha @ g).item() >= 0.5, case  # what has a gradient goes on learning


@by_gradients
@pytest.mark.parametrize("sign", [1, -1])
def test_almost_parallel_gradients_give_no_noise(component, sign):
    """In float32, rounding decides what is left of their difference or sum; the update must not blow it up."""
    for params in settings(component):
        for seed in range(20):
            one, other = torch.randn(2, 1000, generator=torch.Generator().manual_seed(seed))
            g = torch.stack([one, sign * (one + 10.0 ** (-seed / 2) * other)])
            d = params.bind()(TASKS)(torch.ones(2), g @ g.T) @ g
            assert d.norm() <= 1.5 * g.norm(dim=1).sum()


@by_gradients
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_learns_nothing_from_what_is_not_finite(component, bad):
    """And leaves finite gradients finite: all weights are 1; what is not finite shows in d = Σ α g itself."""
    weighting = component.params().bind()(TASKS)
    run(weighting, 0)
    before = {name: value.clone() for name, value in weighting.state_dict().items() if name != "last"}
    g = gradients(1)
    g[1] = bad
    assert weighting(torch.ones(2), g @ g.T).tolist() == [1, 1]
    assert weighting(torch.tensor([1.0, bad]), torch.eye(2)).tolist() == [1, 1]
    assert all(torch.equal(weighting.state_dict()[name], value) for name, value in before.items())


@by_losses
def test_a_loss_that_is_no_number_stays_to_be_seen(component):
    weighting = component.params().bind()(TASKS)
    run(weighting, 0)
    with torch.no_grad():
        total = weighting({"mask": torch.tensor(1.0), "depth": torch.tensor(torch.nan)})
    assert total.isnan()
    for result, weights in series(weighting, range(1, 5)):  # the steps after it, if that one is left out
        assert result.isfinite()
        assert all(map(math.isfinite, weights.values()))


@by_losses
def test_a_loss_of_zero_is_harmless(component):
    """As depth's, where no pixel of a batch has any."""
    weighting = component.params().bind()(TASKS)
    for _ in range(4):
        losses = {"mask": torch.tensor(2.0, requires_grad=True), "depth": torch.tensor(0.0, requires_grad=True)}
        weighting(losses).backward()
        assert losses["mask"].grad > 0
        assert losses["depth"].grad.isfinite()
        weighting.epoch_ended()


@every_weighting
def test_a_step_waits_for_no_device(component):
    weighting = component.params().bind()(TASKS)
    for seed in range(3):
        g = gradients(seed)
        with NoWaiting():
            if isinstance(weighting, GradientWeighting):
                weighting(g.norm(dim=1), g @ g.T)
            else:
                weighting({task: L.requires_grad_() for task, L in zip(TASKS, g.norm(dim=1), strict=True)}).backward()
        weighting.epoch_ended()


@every_weighting
def test_goes_on_from_its_state(component):
    for params in settings(component):
        first, second = (params.bind()(TASKS) for _ in range(2))
        series(first, range(3))
        run(first, 3)  # within an epoch
        second.load_state_dict(copy.deepcopy(first.state_dict()))
        assert second.weights() == first.weights()
        random = torch.get_rng_state()
        one = series(first, range(4, 8))
        torch.set_rng_state(random)
        other = series(second, range(4, 8))
        assert all(torch.equal(a, b) and v == w for (a, v), (b, w) in zip(one, other, strict=True))


@every_weighting
def test_is_random_only_by_the_global_generator(component):
    """Nor does a step of its history change another weighting's."""
    results = []
    for seed in (7, 7, 8):
        torch.manual_seed(seed)
        results.append([weights for _, weights in series(component.params().bind()(TASKS), range(3))])
    assert results[0] == results[1]
    assert (results[0] != results[2]) == (component.name in RANDOM)
