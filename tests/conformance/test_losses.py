"""What every registered loss must do, whatever it computes."""

from dataclasses import replace

import pytest
import torch

import dmx.losses  # noqa: F401  registers
from dmx.quartet import Batch, Prediction
from dmx.registry import depth_losses, mask_losses

H = W = 16
LOSSES = [
    pytest.param(task, component.params().bind(), id=f"{task}-{name}")
    for task, registry in (("mask", mask_losses), ("depth", depth_losses))
    for name, component in registry.items()
]
PRIORS = [component.function for component in depth_losses.values() if component.facts.get("prior")]
every_loss = pytest.mark.parametrize(("task", "loss"), LOSSES)


def scene(known: float | None = None) -> tuple[Prediction, Batch]:
    """Two samples in float64 with positive depth below 1; `known` is the share of known pixels, None is all."""
    generator = torch.Generator().manual_seed(0)

    def uniform(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(2, 1, H, W, dtype=torch.float64, generator=generator)

    valid = torch.ones(2, 1, H, W, dtype=torch.bool) if known is None else uniform(0, 1) < known
    image = torch.zeros(2, 3, H, W)
    mask = (uniform(0, 1) < 0.4).double()
    batch = Batch(("a", "b"), image, None, mask, valid, uniform(0.2, 0.9), valid)
    return Prediction(uniform(-3, 3), uniform(0.2, 0.9)), batch


def wrong(prediction: Prediction, at: torch.Tensor, value: float) -> Prediction:
    """The prediction with `value` where `at`."""
    return Prediction(prediction.mask_logits.masked_fill(at, value), prediction.depth.masked_fill(at, value))


def with_gradient(task, loss, prediction: Prediction, batch: Batch):
    """The loss and its gradient on the task's output."""
    leaf = Prediction(prediction.mask_logits.clone().requires_grad_(), prediction.depth.clone().requires_grad_())
    value = loss(leaf, batch)
    value.backward()
    mine, other = (leaf.mask_logits, leaf.depth) if task == "mask" else (leaf.depth, leaf.mask_logits)
    assert other.grad is None  # a loss looks at its own task only
    return value.detach(), mine.grad


@every_loss
@pytest.mark.parametrize("known", [None, 0.9])
def test_is_a_finite_number_above_zero_of_the_same_type(task, loss, known):
    prediction, batch = scene(known)
    value, gradient = with_gradient(task, loss, prediction, batch)
    assert value.shape == ()
    assert value.dtype == torch.float64
    assert value >= 0
    assert value.isfinite()
    assert gradient.isfinite().all()
    if known is None:
        assert gradient.abs().sum() > 0


@every_loss
def test_float32_stays_float32_and_agrees(task, loss):
    prediction, batch = scene()
    narrow = loss(
        Prediction(prediction.mask_logits.float(), prediction.depth.float()),
        replace(batch, mask=batch.mask.float(), depth=batch.depth.float()),
    )
    assert narrow.dtype == torch.float32
    assert narrow.item() == pytest.approx(loss(prediction, batch).item(), rel=1e-4)


@every_loss
@pytest.mark.parametrize("known", [None, 0.9])
def test_mixed_precision_changes_nothing(task, loss, known):
    """Losses take float32 and stay in it, whatever stands around them."""
    prediction, batch = scene(known)
    narrow = Prediction(prediction.mask_logits.float(), prediction.depth.float())
    truth = replace(batch, mask=batch.mask.float(), depth=batch.depth.float())
    value, gradient = with_gradient(task, loss, narrow, truth)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed, mixed_gradient = with_gradient(task, loss, narrow, truth)
    assert mixed.dtype == mixed_gradient.dtype == torch.float32
    torch.testing.assert_close(mixed, value, rtol=1e-6, atol=0)
    torch.testing.assert_close(mixed_gradient, gradient, rtol=1e-5, atol=1e-8)


@every_loss
def test_is_deterministic(task, loss):
    first, again = (with_gradient(task, loss, *scene(0.9)) for _ in range(2))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])


@every_loss
def test_gradient_is_that_of_its_values(task, loss):
    """By finite differences. One pixel stays out: it has the greatest error, which berHu takes as a constant."""
    prediction, batch = scene()
    corner = torch.zeros(2, 1, H, W, dtype=torch.bool)
    corner[0, 0, 0, 0] = True
    steep = wrong(prediction, corner, 3.0)
    checked = torch.zeros_like(corner)
    checked[:, :, 5:8, 5:9] = True

    def value_at(inputs: torch.Tensor) -> torch.Tensor:
        logits, depth = steep.mask_logits, steep.depth
        if task == "mask":
            logits = logits.masked_scatter(checked, inputs)
        else:
            depth = depth.masked_scatter(checked, inputs)
        return loss(Prediction(logits, depth), batch)

    inputs = (prediction.mask_logits if task == "mask" else prediction.depth)[checked].clone().requires_grad_()
    assert torch.autograd.gradcheck(value_at, inputs)


@every_loss
@pytest.mark.parametrize("junk", [torch.nan, torch.inf, -1.0, 0.0])
def test_what_stands_in_unknown_pixels_does_not_matter(task, loss, junk):
    prediction, batch = scene(0.98)
    unknown = ~batch.valid
    spoilt = replace(batch, mask=batch.mask.masked_fill(unknown, junk), depth=batch.depth.masked_fill(unknown, junk))
    value, gradient = with_gradient(task, loss, prediction, batch)
    other, other_gradient = with_gradient(task, loss, wrong(prediction, unknown, junk), spoilt)
    assert torch.equal(value, other)
    assert torch.equal(gradient, other_gradient)
    assert (gradient[unknown] == 0).all()


@every_loss
@pytest.mark.parametrize("seed", range(4))
def test_no_value_in_an_unknown_region_matters(task, loss, seed):
    """Not of prediction or truth, in patches, specks and a ring; nor does the loss give it a gradient."""
    generator = torch.Generator().manual_seed(seed)
    prediction, batch = scene()
    row, column = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
    away = ((row - 8).square() + (column - 7).square()).sqrt()
    shapes = [(row < 5) & (column > 6), (away > 3) & (away < 5.5), torch.rand(H, W, generator=generator) < 0.4]
    unknown = torch.stack([shapes[seed % 3], shapes[(seed + 1) % 3]])[:, None]
    batch = replace(batch, valid=~unknown, mask_valid=~unknown)
    value, gradient = with_gradient(task, loss, prediction, batch)
    for size in (1e-3, 1.0, 1e6):
        junk = [size * torch.randn(2, 1, H, W, dtype=torch.float64, generator=generator) for _ in range(4)]
        z, y, g, t = (
            torch.where(unknown, j, x)
            for j, x in zip(junk, (prediction.mask_logits, prediction.depth, batch.mask, batch.depth), strict=True)
        )
        other, other_gradient = with_gradient(task, loss, Prediction(z, y), replace(batch, mask=g, depth=t))
        assert torch.equal(value, other)
        assert torch.equal(gradient, other_gradient)
    assert (gradient[unknown] == 0).all()
    assert value > 0


@every_loss
def test_the_truth_stays_the_best_where_a_ring_is_unknown(task, loss):
    """What is right around an unknown ring costs as little as without it: its rim is no outline, edge or slope."""
    _, batch = scene()
    row, column = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
    away = ((row - 8).square() + (column - 7).square()).sqrt()
    plane = (0.2 + 0.01 * row + 0.02 * column).double().expand(2, 1, H, W)
    truth = Prediction(2000 * ((away < 6).double().expand(2, 1, H, W) - 0.5), plane)
    known = ((away <= 2) | (away > 4)).expand(2, 1, H, W)
    batch = replace(batch, mask=(away < 6).double().expand(2, 1, H, W), depth=plane.clone())
    whole = loss(truth, batch)
    assert loss(truth, replace(batch, valid=known, mask_valid=known)).item() == pytest.approx(whole.item(), abs=0.02)


@every_loss
@pytest.mark.parametrize("junk", [torch.nan, torch.inf, 0.0])
def test_nothing_known_is_exactly_zero_with_zero_gradient(task, loss, junk):
    prediction, batch = scene(0.0)
    everywhere = torch.ones_like(batch.valid)
    spoilt = replace(batch, mask=batch.mask.fill_(junk), depth=batch.depth.fill_(junk))
    value, gradient = with_gradient(task, loss, wrong(prediction, everywhere, junk), spoilt)
    assert value == 0
    assert (gradient == 0).all()


@every_loss
def test_one_known_pixel_is_enough_for_a_finite_loss(task, loss):
    prediction, batch = scene()
    valid = torch.zeros_like(batch.valid)
    valid[1, 0, 3, 4] = True
    value, gradient = with_gradient(task, loss, prediction, replace(batch, valid=valid, mask_valid=valid))
    assert value.isfinite()
    assert gradient.isfinite().all()
    assert (gradient[~valid] == 0).all()


@every_loss
def test_nan_in_a_known_pixel_is_never_repaired(task, loss):
    prediction, batch = scene()
    one = torch.zeros_like(batch.valid)
    one[0, 0, 8, 8] = True
    assert loss(wrong(prediction, one, torch.nan), batch).isnan()


@every_loss
def test_the_truth_has_a_finite_gradient(task, loss):
    """Roots, logarithms and quotients are at their most delicate where all errors are 0."""
    _, batch = scene()
    _, gradient = with_gradient(task, loss, Prediction(1000 * (batch.mask - 0.5), batch.depth.clone()), batch)
    assert gradient.isfinite().all()


@every_loss
def test_the_truth_is_better_than_a_guess(task, loss):
    """For those that are blind to the truth, the same depth everywhere is."""
    prediction, batch = scene()
    if loss.func in PRIORS:
        batch = replace(batch, depth=torch.full_like(batch.depth, 0.5))
    depth = batch.depth.logit() if loss.func.__name__ == "depth_bce_dice" else batch.depth  # raw outputs are its depth
    assert loss(Prediction(20 * (batch.mask - 0.5), depth), batch) < loss(prediction, batch)


@pytest.mark.slow
@every_loss
def test_compiled_it_says_the_same(task, loss):
    prediction, batch = scene(0.9)
    value, gradient = with_gradient(task, loss, prediction, batch)
    torch.compiler.reset()
    compiled, other = with_gradient(task, torch.compile(loss, backend="aot_eager", dynamic=False), prediction, batch)
    torch.testing.assert_close(compiled, value)
    torch.testing.assert_close(other, gradient)


def test_every_loss_of_ours_has_a_test_file_of_its_own(request):
    folder = request.path.parent.parent / "losses"
    names = {
        name
        for registry in (mask_losses, depth_losses)
        for name, component in registry.items()
        if component.function.__module__.startswith("dmx.")
    }
    assert {f"test_{name}_loss.py" for name in names} == {path.name for path in folder.glob("test_*.py")}
    assert len(LOSSES) == len(mask_losses) + len(depth_losses)
