"""The metric on made patterns: what is a checkerboard counts in full, what is none counts nothing."""

import numpy as np
import pytest
import scipy.ndimage
import torch
from hypothesis import given
from hypothesis import strategies as st

from dmx.metrics import Evaluator
from dmx.metrics.checkerboard import checkerboard
from dmx.metrics.pixels import DepthPixels
from dmx.sample_table import excess

K = (1 / 8, 1 / 4, 1 / 4, 1 / 4, 1 / 8)
H, W = 40, 52  # where all 5x5 are known: 36 x 48, whole periods of 2, 3 and 4
ROW, COLUMN = np.mgrid[:H, :W].astype(float)
SLOPE = 0.03 * COLUMN - 0.05 * ROW
HALL = 3 + SLOPE


def value(y, t=HALL, valid=None) -> float:
    y, t, valid = (torch.as_tensor(x)[None, None] for x in (y, t, np.ones((H, W)) > 0 if valid is None else valid))
    return float(excess(checkerboard(DepthPixels(y.double(), t.double(), valid.bool()))))


def inside(x):
    return x[2:-2, 2:-2]


def board(period: int, rows: bool = True, columns: bool = True):
    """±1 in squares (or stripes) half a period wide."""
    half = period // 2
    return (-1.0) ** ((ROW // half if rows else 0) + (COLUMN // half if columns else 0))


PATTERNS = {
    "the last shuffle's checkerboard": board(2),
    "the last shuffle's columns": board(2, rows=False),
    "the last shuffle's rows": board(2, columns=False),
    "squares of two pixels": board(4),
    "columns of two pixels": board(4, rows=False),
    "one pixel of sixteen": 4.0 * ((ROW % 4 == 1) & (COLUMN % 4 == 2)),
    "any sixteen numbers": np.tile(np.random.default_rng(0).normal(size=(4, 4)), (H // 4, W // 4)),
}


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS.keys())
@pytest.mark.parametrize("amplitude", [1e-4, 0.02, 5.0])
def test_a_pattern_on_a_slope_counts_with_its_share_of_the_variance(pattern, amplitude):
    y = HALL + amplitude * pattern
    assert value(y) == pytest.approx(amplitude**2 * inside(pattern).var() / inside(y).var(), rel=1e-6)


def test_a_pattern_on_a_flat_wall_is_all_of_the_energy():
    assert value(3 + 0.01 * board(2), np.full((H, W), 3.0)) == pytest.approx(1)


def test_it_is_the_energy_of_fifteen_frequencies():
    """Fourier as the oracle: 36 x 48 pixels have each of the frequencies exactly."""
    rng = np.random.default_rng(1)
    y = rng.normal(size=(H, W))
    power = np.abs(np.fft.fft2(inside(y - scipy.ndimage.convolve(y, np.outer(K, K))))) ** 2 / inside(y).size
    at_phases = power[:: 36 // 4, :: 48 // 4].sum() - power[0, 0]
    expected = at_phases / (inside(y).var() * inside(y).size)
    assert value(y) == pytest.approx(expected, rel=1e-9)


def test_slopes_count_nothing_though_they_leak_into_the_phases():
    """Why it is not taken of the depth itself: a slope would have 100 times the share of a checkerboard of 1 cm."""
    phases = [inside(HALL)[i::4, j::4].mean() for i in range(4) for j in range(4)]
    assert np.var(phases) / inside(HALL).var() > 0.005
    assert value(HALL, 3 + 0.01 * board(2)) == pytest.approx(-1)  # the slope's share is 0, the truth's is 1
    assert value(HALL, 5 - 2 * SLOPE) == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_slope_cannot_hide_stripes_that_go_against_it(sign):
    stripes = 0.01 * sign * board(2, rows=False)
    assert value(HALL + stripes) == pytest.approx(0.01**2 / inside(HALL + stripes).var(), rel=1e-6)


@pytest.mark.parametrize("period", [3, 6, 12])
def test_stripes_of_other_periods_do_not_count(period):
    for place in (COLUMN, ROW):
        assert value(HALL + 0.5 * np.cos(2 * np.pi * place / period)) == pytest.approx(0, abs=1e-12)


def test_noise_has_its_expected_share():
    """Fifteen of the n - 1 frequencies, which are alike in noise."""
    rng = np.random.default_rng(0)
    shares = [value(rng.normal(size=(H, W))) for _ in range(400)]
    assert np.mean(shares) == pytest.approx(15 / (inside(HALL).size - 1), rel=0.05)


@given(st.integers(0, 3), st.integers(0, 3), st.sampled_from(sorted(PATTERNS)))
def test_where_the_pattern_starts_does_not_matter(down, right, name):
    moved = np.roll(PATTERNS[name], (down, right), (0, 1))
    flat = np.full((H, W), 3.0)
    assert value(3 + moved, flat) == pytest.approx(1)
    assert value(SLOPE + moved) == pytest.approx(inside(moved).var() / inside(SLOPE + moved).var(), rel=1e-6)


@given(st.integers(0, 1000), st.floats(0.01, 100), st.floats(-10, 10))
def test_unit_and_zero_of_depth_do_not_matter(seed, scale, shift):
    rng = np.random.default_rng(seed)
    y, t = HALL + rng.normal(size=(2, H, W))
    assert value(scale * y + shift, scale * t + shift) == pytest.approx(value(y, t), rel=1e-6, abs=1e-9)


@given(st.integers(0, 1000), st.floats(0, 0.1))
def test_the_truth_is_zero_and_changed_roles_change_the_sign(seed, unknown):
    """Some 5x5 are always known, so that there is a value."""
    rng = np.random.default_rng(seed)
    y, t = HALL + rng.normal(size=(2, H, W))
    valid = rng.random((H, W)) >= unknown
    valid[10:20, 10:20] = True
    assert value(t, t, valid) == 0
    assert value(y, t, valid) == pytest.approx(-value(t, y, valid), rel=1e-9)
    assert abs(value(y, t, valid)) > 1e-6


def test_unknown_pixels_and_those_beside_them_are_not_looked_at():
    """A pattern in the known half counts with its share there, whatever stands in the other half."""
    valid = COLUMN < 30
    rng = np.random.default_rng(0)
    y = HALL + 0.1 * board(2)
    expected = value(y, valid=valid)
    seen = y[2:-2, 2:28]
    assert expected == pytest.approx(0.01 / seen.var(), rel=0.01)
    assert value(np.where(valid, y, rng.normal(size=(H, W))), np.where(valid, HALL, np.nan), valid) == expected


@pytest.mark.parametrize("size", [(5, 5), (5, 8), (7, 9), (64, 33)])
def test_any_size_by_a_loop(size):
    """Against sums over phases written out, with a sixth of the pixels unknown in one corner."""
    rng = np.random.default_rng(2)
    y = rng.normal(size=size)
    known = {(i, j): y[i, j] - np.sum(np.outer(K, K) * y[i - 2 : i + 3, j - 2 : j + 3]) for i, j in interior(size)}
    mean = np.mean(list(known.values()))
    pattern = 0.0
    for p in {(i % 4, j % 4) for i, j in known}:
        h = [value for (i, j), value in known.items() if (i % 4, j % 4) == p]
        pattern += len(h) * (np.mean(h) - mean) ** 2
    energy = np.sum((y[2:-2, 2:-2] - y[2:-2, 2:-2].mean()) ** 2)
    ones = torch.ones(1, 1, *size, dtype=torch.float64)
    sums = checkerboard(DepthPixels(torch.as_tensor(y)[None, None], ones, ones.bool()))
    assert sums[0].tolist() == pytest.approx([pattern, energy, 0, 0, len(known)])


def interior(size):
    return [(i, j) for i in range(2, size[0] - 2) for j in range(2, size[1] - 2)]


@pytest.mark.parametrize("constant", [0.1, 1e9 / 3])
def test_a_constant_has_no_pattern_whatever_rounding_leaves(constant):
    assert value(np.full((H, W), constant), np.full((H, W), constant / 7)) == 0


def test_where_nothing_is_known_around_it_is_undefined(scene, metres, disparity):
    few = np.zeros((1, 1, 8, 8))
    few[..., :4, :] = 1
    for spec in (metres, disparity):
        evaluator = Evaluator(spec)
        evaluator.update(*scene(y=np.random.default_rng(0).random((1, 1, 8, 8)), t_valid=few))
        values = evaluator.compute()
        assert values["depth/checkerboard_pooled"] is None
        assert values["depth/checkerboard_per_image"] is None
        assert values["depth/rmse_pooled"] is not None


def test_nan_is_never_repaired():
    y = HALL.copy()
    y[0, 0] = np.nan  # beside which none is looked at
    assert np.isnan(value(y))


def test_pooled_and_per_image(scene, metres):
    """Two walls, one of four times the energy with a pattern of half of it, the other clean."""
    t = np.stack([SLOPE, 2 * SLOPE])[:, None]
    y = t.copy()
    y[1] += np.sqrt(4 * inside(SLOPE).var()) * board(2)
    evaluator = Evaluator(metres)
    evaluator.update(*scene(y=y, t=t))
    values = evaluator.compute()
    assert values["depth/checkerboard_pooled"] == pytest.approx(4 / 9, rel=1e-6)
    assert values["depth/checkerboard_per_image"] == pytest.approx(1 / 4, rel=1e-6)
