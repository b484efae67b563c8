"""What predicted standard deviations are worth, by hand, by another computation, and for errors that are normal."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dmx.metrics.uncertainty import LEVELS, STEPS, Uncertainty, remaining
from dmx.quartet import Batch, Prediction


def taken(depth: Tensor, true: Tensor, spread: Tensor, valid: Tensor | None = None) -> Uncertainty:
    """The accumulator of pictures without an object, whose mask is right and certain."""
    valid = torch.ones_like(true, dtype=torch.bool) if valid is None else valid
    nothing = torch.zeros_like(true)
    batch = Batch(
        ids=tuple(map(str, range(len(true)))),
        image=nothing.expand(-1, 3, -1, -1),
        background=None,
        mask=nothing,
        mask_valid=torch.ones_like(valid),
        depth=true,
        valid=valid,
    )
    found = Uncertainty()
    found.take(Prediction(torch.full_like(true, -torch.inf), depth), nothing, spread, batch)
    return found


def row(*values: float) -> Tensor:
    return torch.tensor([float(value) for value in values]).reshape(1, 1, 1, -1)


def test_a_spread_that_ranks_errors_rightly_leaves_nothing_to_gain() -> None:
    """20 pixels with errors 1, 2, ..., 20: without the k greatest, the mean square is that of 1 to 20 - k."""
    errors = row(*range(1, 21))
    values = taken(10 + errors, torch.full_like(errors, 10), errors / 7).values()
    rest = [np.sqrt(np.mean(np.arange(1, 21 - k) ** 2.0) / np.mean(np.arange(1, 21) ** 2.0)) for k in range(20)]
    assert values["depth/ause_per_image"] == 0
    assert values["depth/aurg_per_image"] == pytest.approx(1 - np.mean(rest))
    assert values["depth/error_to_spread_pooled"] == pytest.approx(7)
    assert values["mask/ause_per_image"] is None


def test_a_spread_that_ranks_errors_wrongly_is_worse_than_chance() -> None:
    errors = row(*range(1, 21))
    values = taken(10 + errors, torch.full_like(errors, 10), 1 / errors).values()
    wrong = [np.sqrt(np.mean(np.arange(k + 1, 21) ** 2.0) / np.mean(np.arange(1, 21) ** 2.0)) for k in range(20)]
    right = [np.sqrt(np.mean(np.arange(1, 21 - k) ** 2.0) / np.mean(np.arange(1, 21) ** 2.0)) for k in range(20)]
    assert values["depth/ause_per_image"] == pytest.approx(np.mean(wrong) - np.mean(right))
    assert values["depth/aurg_per_image"] == pytest.approx(1 - np.mean(wrong))
    assert 1 - np.mean(wrong) < 0


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_curves_are_those_of_a_loop(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    errors, by = rng.normal(size=count), rng.permutation(count) / 7
    order = np.argsort(by)
    loop = []
    for k in range(STEPS):
        kept = errors[order][: count - int(k / STEPS * count)]
        loop.append(np.sqrt(np.mean(kept**2) / np.mean(errors**2)))
    assert remaining(torch.from_numpy(errors), torch.from_numpy(by)) == pytest.approx(loop)


def test_the_intervals_of_normal_errors_hold_what_they_promise() -> None:
    generator = torch.Generator().manual_seed(0)
    spread = torch.rand(4, 1, 200, 200, generator=generator) + 0.1
    true = torch.full_like(spread, 5)
    depth = true + spread * torch.randn(spread.shape, generator=generator)
    right, narrow = taken(depth, true, spread), taken(depth, true, spread / 2)
    assert right.coverage == pytest.approx(LEVELS, abs=0.005)
    assert right.values()["depth/error_to_spread_pooled"] == pytest.approx(1, abs=0.01)
    assert narrow.values()["depth/error_to_spread_pooled"] == pytest.approx(2, abs=0.01)
    assert narrow.coverage[18] == pytest.approx(0.673, abs=0.005)  # within 0.98 standard deviations
    error = narrow.values()["depth/spread_calibration_error_pooled"]
    assert error == pytest.approx(np.mean(LEVELS - narrow.coverage))


def test_pixels_of_unknown_depth_do_not_count() -> None:
    errors = row(1, 2, 3, 4, 1000)
    valid = errors < 1000
    full = taken(10 + errors[..., :4], torch.full_like(errors[..., :4], 10), errors[..., :4] / 3)
    found = taken(10 + errors, torch.full_like(errors, 10), errors / 3, valid)
    assert found.values() == full.values()


def test_without_a_known_pixel_there_is_no_number() -> None:
    errors = row(1, 2)
    values = taken(
        10 + errors, torch.full_like(errors, 10), errors, torch.zeros_like(errors, dtype=torch.bool)
    ).values()
    assert {name: value for name, value in values.items() if value is not None} == {}
