"""Depth brought to the truth's scale: against numpy, and what each way must undo."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dmx.metrics.alignment import aligned, alignments
from dmx.metrics.pixels import DepthPixels
from dmx.quartet import DepthSpec

METRES = DepthSpec("metric", 0.5, 10.0)
FAR = DepthSpec("relative", 0.0, 1.0)
DISPARITY = DepthSpec("relative", 0.0, 1.0, near="high")


def pixels(seed: int, low: float = 0.6, high: float = 9.0):
    rng = np.random.default_rng(seed)
    y, t = rng.uniform(low, high, (2, 3, 1, 6, 7))
    valid = rng.random((3, 1, 6, 7)) < 0.7
    valid[:, 0, 0, :2] = True
    return DepthPixels(*(torch.from_numpy(x) for x in (y, t)), torch.from_numpy(valid))


def test_what_makes_sense_follows_from_the_kinds():
    assert alignments(METRES, METRES) == ("none", "median", "least_squares")
    assert alignments(FAR, FAR) == ("none", "least_squares")
    for predicted, true in ((FAR, METRES), (METRES, DISPARITY), (FAR, DISPARITY)):
        assert alignments(predicted, true) == ("least_squares",)


@given(st.integers(0, 1000))
def test_agrees_with_numpy(seed):
    given = pixels(seed)
    by_median = aligned(given, "median", METRES, METRES).y
    by_line = aligned(given, "least_squares", FAR, FAR).y
    for i in range(3):
        where = given.valid[i, 0].numpy()
        y, t = given.y[i, 0].numpy(), given.t[i, 0].numpy()
        assert by_median[i, 0].numpy() == pytest.approx(y * np.median(t[where]) / np.median(y[where]), rel=1e-12)
        s, b = np.polyfit(y[where], t[where], 1)
        assert by_line[i, 0].numpy() == pytest.approx(s * y + b, rel=1e-9)
    assert aligned(given, "none", METRES, METRES) is given


@pytest.mark.parametrize(
    ("predicted", "true", "y"),
    [
        (METRES, METRES, lambda t: 3 * t - 1),
        (FAR, METRES, lambda t: 0.05 * t + 0.3),
        (DISPARITY, METRES, lambda t: 0.4 / t + 0.1),
        (METRES, DISPARITY, lambda t: 1 / (4 * t + 0.2)),
        (FAR, DISPARITY, lambda t: 1 - t),
    ],
)
def test_what_differs_by_scale_and_shift_alone_is_brought_back(predicted, true, y):
    given = pixels(0, *((0.6, 9.0) if true is METRES else (0.05, 0.95)))
    spec = DepthSpec("metric", 1e-3, 1e3) if predicted.kind == "metric" else predicted
    found = aligned(DepthPixels(y(given.t), given.t, given.valid), "least_squares", spec, true)
    assert found.y.numpy() == pytest.approx(given.t.numpy(), rel=1e-9)


def test_without_known_depth_or_without_contrast_nothing_breaks():
    given = pixels(0)
    given.valid[0] = False
    flat = DepthPixels(torch.full_like(given.y, 2.0), given.t, given.valid)
    for how in ("median", "least_squares"):
        found = aligned(flat, how, METRES, METRES).y
        assert found[0].isnan().all()
        assert found[1:].isfinite().all()
    mean = flat.t[1][flat.valid[1]].mean()
    assert aligned(flat, "least_squares", METRES, METRES).y[1].numpy() == pytest.approx(float(mean))


def test_a_line_does_not_leave_the_range():
    t = torch.tensor([[[[0.6, 9.0, 0.6, 9.0, 5.0]]]], dtype=torch.float64)
    y = torch.tensor([[[[1.0, 2.0, 1.0, 2.0, 50.0]]]], dtype=torch.float64)
    valid = torch.tensor([[[[True, True, True, True, False]]]])
    assert aligned(DepthPixels(y, t, valid), "least_squares", METRES, METRES).y[0, 0, 0, 4] == 10.0
