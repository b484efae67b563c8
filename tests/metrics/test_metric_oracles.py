"""Every metric against an independent computation over the known pixels, pooled and per image."""

import numpy as np
import pytest
from helpers.oracles import DEPTH, MASK, both
from hypothesis import given
from hypothesis import strategies as st

from dmx.metrics import Evaluator
from dmx.registry import depth_metrics, joint_metrics, mask_metrics

WHOLE = {"boundary_iou", "brier", "e_measure", "s_measure", "weighted_f"}  # test_whole_mask.py has theirs
NEIGHBOURS = {"checkerboard"}  # no function of known pixels without their places: test_checkerboard.py has its oracles

SKILL = {"skill"}  # needs a reference: test_skill.py


def test_no_metric_is_without_an_oracle():
    assert set(MASK) | WHOLE | SKILL == {
        name for name, c in mask_metrics.items() if c.function.__module__.startswith("dmx.")
    }
    assert set(joint_metrics) == SKILL
    assert set(DEPTH) | NEIGHBOURS | SKILL == {
        name for name, c in depth_metrics.items() if c.function.__module__.startswith("dmx.")
    }


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
    left = {f"depth/{name}" for name in NEIGHBOURS} | {"mask/skill", "depth/skill"}
    assert set(values) == {f"{name}_{form}" for name in left for form in ("pooled", "per_image")} | {
        f"joint/{name}_pooled" for name in joint_metrics
    }
