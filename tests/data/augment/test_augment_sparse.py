"""Sparse depth outlives what moves it: a known pixel that lands where nothing is known is known there."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.augmenting import BACKENDS, GEOMETRIC, legal, quartet, step
from hypothesis import given, settings
from hypothesis import strategies as st

from dmx.data.augment.device import sample_seeds
from dmx.data.augment.steps import plan, stages
from dmx.quartet import Quartet
from dmx.registry import augmentations

on_both = pytest.mark.parametrize("backend", list(BACKENDS))
GIVEN = quartet(36, 48)


def sparse(share: float, seed: int) -> Quartet:
    known = np.random.default_rng(seed).random((36, 48)) < share
    return replace(GIVEN, depth=np.arange(1, 36 * 48 + 1, dtype=np.float32).reshape(36, 48), valid=known)


@on_both
@pytest.mark.parametrize("name", GEOMETRIC)
@settings(max_examples=20)
@given(data=st.data(), seed=st.integers(0, 2**40), share=st.sampled_from([0.01, 0.1, 0.8]))
def test_a_new_pixel_is_known_where_a_known_one_lands_in_it(backend, name, data, seed, share):
    steps = [step(name, **data.draw(legal(augmentations[name], p=1.0)))]
    sample = sparse(share, seed % 100)
    done = BACKENDS[backend](steps, [sample], seed)
    [warp] = plan(stages(steps), sample_seeds(seed, 1)[0], 36, 48)
    dense = BACKENDS[backend](steps, [replace(sample, valid=np.ones((36, 48), bool))], seed)
    depth, valid = done.depth[0, 0].numpy(), done.valid[0, 0].numpy()
    ys, xs = np.nonzero(sample.valid)
    x, y, z = warp.matrix @ np.stack([xs, ys, np.ones_like(xs)])
    x, y = x / z, y / z
    plain = np.maximum(abs(x - np.rint(x)), abs(y - np.rint(y))) < 0.49  # by rounding it may land beside
    inside = plain & (x > -0.49) & (x < 47.49) & (y > -0.49) & (y < 35.49)
    assert valid[np.rint(y[inside]).astype(int), np.rint(x[inside]).astype(int)].all()
    assert np.isin(depth[valid], sample.depth[sample.valid]).all()
    near = dense.depth[0, 0].numpy()
    known = np.isin(near, sample.depth[sample.valid])
    assert valid[known].all()
    np.testing.assert_array_equal(depth[known], near[known])


@on_both
def test_points_that_shrink_together_are_not_lost(backend):
    """Of 17 in 1,728 a zoom out to a half would leave 4 of each 16 by their nearest pixel."""
    sample = sparse(0.01, 0)
    scale = step("scale", factor=2.0, p=1.0, nearer=False)
    seed = next(s for s in range(99) if plan(stages([scale]), sample_seeds(s, 1)[0], 36, 48)[0].matrix[0, 0] < 0.55)
    done = BACKENDS[backend]([scale], [sample], seed)
    found = set(done.depth[0, 0].numpy()[done.valid[0, 0].numpy()].tolist())
    assert found == set(sample.depth[sample.valid].tolist())
