"""What a picture enlarged says of its depth: by hand, and alike on both back ends."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest
import torch
from helpers.augmenting import BACKENDS, quartet, same, step

from dmx.data.augment.steps import Geometric, Warp, enlargement, plan, stages
from dmx.quartet import DepthSpec

METRIC = DepthSpec("metric", 1.0, 5.0)
RELATIVE = DepthSpec("relative", 0.0, 1.0, near="high")
on_both = pytest.mark.parametrize("backend", list(BACKENDS))


def by(factor: float, *, nearer: bool = True) -> Geometric:
    """What `scale` does where it draws this factor."""
    given = step("scale", factor=abs(factor) if factor > 1 else 1 / factor, nearer=nearer, p=1.0)
    assert isinstance(given, Geometric)

    class Drawn(Random):
        def uniform(self, low: float, high: float) -> float:
            return high if factor > 1 else low

    return replace(given, draw=lambda random, height, width: given.draw(Drawn(), height, width))


def plain(depth: list[float]) -> object:
    """A quartet of columns of one depth each, wide enough that the middle stays the middle."""
    rows = np.tile(np.array(depth, np.float32), (5, 1))
    given = quartet(5, len(depth))
    return replace(given, depth=rows, valid=np.isfinite(rows) & (rows > 0))


@on_both
def test_twice_as_large_is_half_as_far(backend):
    given = plain([2.0, 2.0, 4.0, 3.0, 3.0])
    done = BACKENDS[backend]([by(2)], [given], 0, METRIC)
    # about column 2, by 2, the nearest pixels: columns 1, 1.5, 2, 2.5, 3, so that the middle is 4 m: 2 m now
    assert done.depth[0, 0, 2, 2] == 2.0
    assert done.depth[0, 0, 2, 0] == 1.0
    assert done.depth[0, 0, 2, 4] == 1.5
    assert done.valid[0, 0, 2, [0, 2, 4]].all()


@on_both
def test_half_as_large_is_twice_as_far_and_what_leaves_the_range_is_unknown(backend):
    given = plain([2.0, 2.0, 3.0, 2.0, 2.0, 2.0, 2.0])
    done = BACKENDS[backend]([by(0.5)], [given], 0, METRIC)
    assert done.depth[0, 0, 2, 3] == 4.0
    six = done.depth == 6.0
    assert not done.valid[six].any()  # neither 6 m, which the data set does not know, nor 5 m, which is not true
    assert done.valid[~six].all()


@on_both
def test_what_comes_too_near_is_unknown(backend):
    done = BACKENDS[backend]([by(2)], [plain([1.5] * 5)], 0, METRIC)
    assert torch.equal(done.depth, torch.full_like(done.depth, 0.75))
    assert not done.valid.any()


@on_both
@pytest.mark.parametrize(("spec", "nearer"), [(RELATIVE, True), (METRIC, False), (RELATIVE, False)])
def test_relative_depth_and_a_zoom_keep_the_values(backend, spec, nearer):
    given = quartet()
    done = BACKENDS[backend]([by(1.5, nearer=nearer)], [given], 0, spec)
    assert set(done.depth[done.valid].tolist()) <= set(given.depth[given.valid].tolist())


@on_both
@pytest.mark.parametrize("name", ["horizontal_flip", "vertical_flip", "random_crop", "rotation", "perspective"])
def test_the_others_keep_the_values_of_metric_depth(backend, name):
    given = quartet()
    done = BACKENDS[backend]([step(name, p=1.0)], [given] * 4, 0, METRIC)
    assert set(done.depth[done.valid].tolist()) <= set(given.depth[given.valid].tolist())


@on_both
def test_two_scales_in_one_run_divide_by_both(backend):
    given = plain([4.0] * 7)
    done = BACKENDS[backend]([by(2), step("horizontal_flip", p=1.0), by(1.25)], [given], 0, METRIC)
    assert torch.allclose(done.depth, torch.full_like(done.depth, 4 / 2.5))
    apart = BACKENDS[backend]([by(2), step("brightness", p=1.0), by(1.25, nearer=False)], [given], 0, METRIC)
    assert torch.equal(apart.depth, torch.full_like(apart.depth, 2.0))


@pytest.mark.parametrize("seed", range(5))
def test_both_back_ends_do_the_same(seed):
    given = [quartet(seed=n) for n in range(4)]
    steps = [step("scale", factor=1.5, p=0.7), step("horizontal_flip", p=0.5)]
    one, other = (BACKENDS[name](steps, given, seed, METRIC) for name in ("cpu", "device"))
    known = one.valid & other.valid
    assert (one.valid == other.valid).float().mean() > 0.97  # nearest pixels may differ where two are as near
    assert (one.depth == other.depth)[known].float().mean() > 0.97
    assert (one.depth[one.valid] >= METRIC.low).all()
    assert (one.depth[one.valid] <= METRIC.high).all()


@on_both
def test_the_pictures_are_those_of_a_zoom(backend):
    given = [quartet(seed=n) for n in range(3)]
    steps = [step("scale", p=0.7)]
    near, far = (BACKENDS[backend](steps, given, 0, spec) for spec in (METRIC, RELATIVE))
    assert same(near, far, "image", "background", "mask", "mask_valid")
    assert not same(near, far, "depth")


def test_the_plan_says_what_depth_is_divided_by():
    for seed in range(20):
        (drawn,) = plan(stages([step("scale", factor=1.5, p=1.0), step("rotation", degrees=30, p=1.0)]), seed, 20, 30)
        assert isinstance(drawn, Warp)
        assert drawn.nearer == pytest.approx(enlargement(drawn.matrix))
        assert 1 / 1.5 <= drawn.nearer <= 1.5
