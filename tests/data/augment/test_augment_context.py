"""A quartet stays in context, whatever is drawn: for every registered augmentation and on both back ends."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.augmenting import BACKENDS, GEOMETRIC, PHOTOMETRIC, UNKNOWN, batch_of, legal, quartet, same, searched, step
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation

from dmx.data.augment import Geometric, Photometric
from dmx.quartet import Quartet
from dmx.registry import augmentations, load

SEEDS = st.integers(0, 2**63)
on_both = pytest.mark.parametrize("backend", list(BACKENDS))


def test_no_augmentation_escapes_these_tests():
    load()
    assert sorted(GEOMETRIC + PHOTOMETRIC) == sorted(augmentations)
    assert {name for name in augmentations if isinstance(step(name), Geometric)} == set(GEOMETRIC)
    assert {name for name in augmentations if isinstance(step(name), Photometric)} == set(PHOTOMETRIC)


def coordinates(height: int, width: int, seed: int) -> Quartet:
    """Every role says where its pixel was: depth by number, pictures by x and y in two channels, planes by chance."""
    y, x = np.mgrid[:height, :width]
    image = np.stack([x * GREY, y * GREY, np.zeros_like(x)], axis=-1).astype(np.uint8)
    random = np.random.default_rng(seed)
    mask, mask_valid, valid = (random.random((3, height, width)) < 0.5).astype(np.uint8)
    depth = (y * width + x).astype(np.float32)
    return Quartet("s", "g", image, image[..., ::-1].copy(), mask, mask_valid.astype(bool), depth, valid.astype(bool))


GREY = 5
"""Grey levels from one pixel to the next."""


@on_both
@pytest.mark.parametrize("name", GEOMETRIC)
@settings(max_examples=25)
@given(data=st.data(), seed=SEEDS, height=st.integers(8, 40), width=st.integers(8, 40))
def test_geometry_is_the_same_map_for_all_roles(name, backend, data, seed, height, width):
    given_ = coordinates(height, width, seed % 1000)
    parameters = data.draw(legal(augmentations[name], p=1.0))
    done = BACKENDS[backend]([step(name, **parameters)], [given_], seed)
    dense = BACKENDS[backend]([step(name, **parameters)], [replace(given_, valid=np.ones((height, width), bool))], seed)
    number = dense.depth[0, 0].long().numpy()
    assert np.array_equal(number, dense.depth[0, 0].numpy())  # no blend of two
    y, x = np.divmod(number, width)
    for role in ("mask", "mask_valid"):
        assert np.array_equal(getattr(done, role)[0, 0].numpy(), getattr(given_, role)[y, x]), role
    depth, valid, nearest = done.depth[0, 0].numpy(), done.valid[0, 0].numpy(), given_.valid[y, x]
    assert valid[nearest].all()
    assert np.array_equal(depth[nearest], number[nearest])
    assert given_.valid.flat[depth[valid].astype(int)].all()
    # half a pixel to the nearest, and 1/32 pixel and half a grey level of OpenCV's rounding
    bound = 0.5 + 1 / 16 + 0.5 / GREY
    for role, channels in (("image", (0, 1)), ("background", (2, 1))):
        picture = getattr(done, role)[0].numpy() * 255 / GREY
        assert np.abs(picture[channels[0]] - x).max() <= bound, role
        assert np.abs(picture[channels[1]] - y).max() <= bound, role


@on_both
@pytest.mark.parametrize("unknown", [UNKNOWN, np.nan, np.inf])
@settings(max_examples=25)
@given(data=st.data(), seed=SEEDS)
def test_unknown_depth_never_becomes_known(backend, unknown, data, seed):
    names = data.draw(st.lists(st.sampled_from(GEOMETRIC), min_size=1, max_size=4))
    steps = [step(name, **data.draw(legal(augmentations[name], p=1.0))) for name in names]
    given_ = quartet(24, 30, seed % 1000)
    given_ = replace(given_, depth=np.where(given_.valid, given_.depth, np.float32(unknown)))
    done = BACKENDS[backend](steps, [given_], seed)
    assert set(done.depth[done.valid].tolist()) <= set(given_.depth[given_.valid].tolist())
    assert set(done.mask.unique().tolist()) <= {0.0, 1.0}


@on_both
@pytest.mark.parametrize("name", PHOTOMETRIC)
@settings(max_examples=25)
@given(data=st.data(), seed=SEEDS, p=st.sampled_from([0.5, 1.0]))
def test_photometry_leaves_mask_and_depth(name, backend, data, seed, p):
    quartets = [quartet(24, 30, number) for number in range(2)]
    parameters = data.draw(legal(augmentations[name], p=p))
    done = BACKENDS[backend]([step(name, **parameters)], quartets, seed)
    assert same(done, batch_of(quartets), "mask", "mask_valid", "depth", "valid")
    assert min(done.image.min(), done.background.min()) >= 0
    assert max(done.image.max(), done.background.max()) <= 1


@on_both
@pytest.mark.parametrize("name", PHOTOMETRIC)
@settings(max_examples=25)
@given(data=st.data(), seed=SEEDS)
def test_one_draw_is_for_both_pictures(name, backend, data, seed):
    given_ = quartet(24, 30, seed % 1000)
    given_ = replace(given_, background=given_.image)
    parameters = data.draw(legal(augmentations[name], p=1.0, apart=False))
    done = BACKENDS[backend]([step(name, **parameters)], [given_], seed)
    assert same(done, replace(done, background=done.image), "background")


@on_both
@pytest.mark.parametrize("name", sorted(set(PHOTOMETRIC) - {"grayscale"}))  # which has nothing to draw but whether
def test_apart_each_picture_has_its_own_draw(name, backend):
    given_ = quartet()
    given_ = replace(given_, background=given_.image)
    done = BACKENDS[backend]([step(name, p=1.0, apart=True)], [given_], 3)
    assert not torch.equal(done.image, done.background)
    assert not torch.equal(done.image, batch_of([given_]).image)
    assert not torch.equal(done.background, batch_of([given_]).background)


@on_both
def test_apart_it_is_drawn_for_each_picture_whether_it_happens(backend):
    given_ = [quartet(8, 8)] * 400
    before, done = batch_of(given_), BACKENDS[backend]([step("grayscale", p=0.5, apart=True)], given_, 0)
    grey = [
        (getattr(done, role) != getattr(before, role)).flatten(1).any(dim=1).numpy() for role in ("image", "background")
    ]
    counts = np.histogram2d(*grey, bins=2)[0]
    assert np.abs(counts - 100).max() < 4 * np.sqrt(400 * 0.25 * 0.75)  # four standard deviations of each count


@on_both
@settings(max_examples=50)
@given(data=st.data(), seed=SEEDS)
def test_outside_of_the_mask_image_and_background_stay_the_same(backend, data, seed):
    """Several steps in any order; the mask is wider than the difference by what warp and blur reach over."""
    names = data.draw(st.permutations(sorted(augmentations)))[: data.draw(st.integers(1, 6))]
    fixed = [{"apart": False} if name in PHOTOMETRIC else {} for name in names]
    steps = [
        step(name, **data.draw(searched(augmentations[name], p=1.0, **more)))
        for name, more in zip(names, fixed, strict=True)
    ]
    given_ = quartet(96, 96, seed % 1000)
    assert given_.background is not None
    differs = np.zeros((96, 96), bool)
    differs[46:50, 46:50] = True
    image = np.where(differs[..., None], 255 - given_.background, given_.background)
    mask = binary_dilation(differs, iterations=24, structure=np.ones((3, 3), bool)).astype(np.uint8)
    done = BACKENDS[backend](steps, [replace(given_, image=image, mask=mask)], seed)
    outside = (done.mask == 0).expand_as(done.image)
    assert outside.any()
    assert (done.image - done.background).abs()[outside].max() <= 1e-6
