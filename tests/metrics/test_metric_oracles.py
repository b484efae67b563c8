"""Every metric against an independent computation over the known pixels, pooled and per image."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import mean_squared_error
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    jaccard_score,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_log_error,
)

from dmx.metrics import Evaluator
from dmx.registry import depth_metrics, mask_metrics


def share_within(factor: float):
    return lambda y, t: accuracy_score(np.ones(y.size), np.abs(np.log(y / t)) < np.log(factor))


MASK = {
    "iou": lambda z, g: jaccard_score(g, z > 0),
    "dice": lambda z, g: f1_score(g, z > 0),
    "mae": lambda z, g: mean_absolute_error(g, 1 / (1 + np.exp(-z))),
}
DEPTH = {
    "abs_rel": lambda y, t: mean_absolute_percentage_error(t, y),
    "sq_rel": lambda y, t: np.average((y - t) ** 2 / t),
    "rmse": lambda y, t: np.sqrt(mean_squared_error(t, y)),
    "rmse_log": lambda y, t: np.sqrt(mean_squared_log_error(t - 1, y - 1)),  # which takes ln(1 + x)
    "silog_lambda1": lambda y, t: np.std(np.log(y) - np.log(t)),
    "log10": lambda y, t: mean_absolute_error(np.log10(t), np.log10(y)),
    "delta1": share_within(1.25),
    "delta2": share_within(1.25**2),
    "delta3": share_within(1.25**3),
    "mae": lambda y, t: mean_absolute_error(t, y),
}


NEIGHBOURS = {"checkerboard"}  # no function of known pixels without their places: test_checkerboard.py has its oracles


def test_no_metric_is_without_an_oracle():
    assert set(MASK) == {name for name, c in mask_metrics.items() if c.function.__module__.startswith("dmx.")}
    assert set(DEPTH) | NEIGHBOURS == {
        name for name, c in depth_metrics.items() if c.function.__module__.startswith("dmx.")
    }


def both(oracle, p, truth, valid):
    each = [oracle(p[i][valid[i]], truth[i][valid[i]]) for i in range(len(p)) if valid[i].any()]
    return oracle(p[valid], truth[valid]), np.mean(each)


@given(st.integers(0, 10_000))
def test_agrees_with_its_oracle(scene, metres, seed):
    rng = np.random.default_rng(seed)
    shape = (4, 1, 5, 7)
    z, g = rng.normal(0, 2, shape), rng.random(shape) < 0.4
    t = rng.uniform(1.2, 9, shape)
    y = np.maximum(t * rng.lognormal(0, 0.3, shape), 1.0)
    g_valid, t_valid = rng.random((2, *shape)) < 0.7
    g[:, 0, 0, 0] = g_valid[:, 0, 0, 0] = True  # an object in each picture, so that each has a value
    t_valid[3] = False
    unknown = np.where(t_valid, t, np.nan)
    evaluator = Evaluator(metres)
    for part in (slice(0, 3), slice(3, 4)):  # batches of different sizes
        evaluator.update(*scene(z[part], g[part], y[part], unknown[part], g_valid[part], t_valid[part]))
    values = evaluator.compute()
    expected = {f"mask/{name}": both(oracle, z, g, g_valid) for name, oracle in MASK.items()}
    expected |= {f"depth/{name}": both(oracle, y, t, t_valid) for name, oracle in DEPTH.items()}
    for name, (pooled, per_image) in expected.items():
        assert values.pop(f"{name}_pooled") == pytest.approx(pooled, abs=1e-6), name
        assert values.pop(f"{name}_per_image") == pytest.approx(per_image, abs=1e-6), name
    assert set(values) == {f"depth/{name}_{form}" for name in NEIGHBOURS for form in ("pooled", "per_image")}
