"""What is drawn is a function of the seed alone, and nothing happens where nothing is drawn."""

import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import pytest
import torch
from helpers.augmenting import (
    BACKENDS,
    GEOMETRIC,
    PHOTOMETRIC,
    RELATIVE,
    batch_of,
    legal,
    on_cpu,
    on_device,
    quartet,
    same,
    step,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from dmx.data.augment.cpu import make_augment
from dmx.data.augment.device import make_batch_augment, sample_seeds
from dmx.data.augment.steps import plan, stages
from dmx.registry import augmentations

ALL = sorted(augmentations)
every_one = pytest.mark.parametrize("name", ALL)
on_both = pytest.mark.parametrize("backend", list(BACKENDS))
WITHOUT_STRENGTH = {"horizontal_flip", "vertical_flip", "grayscale"}


@on_both
@every_one
@settings(max_examples=10)
@given(data=st.data(), seed=st.integers(0, 2**63))
def test_probability_zero_changes_no_bit(name, backend, data, seed):
    quartets = [quartet(17, 23, number) for number in range(2)]
    parameters = data.draw(legal(augmentations[name], p=0.0))
    assert same(BACKENDS[backend]([step(name, **parameters)], quartets, seed), batch_of(quartets))


@on_both
def test_no_steps_change_no_bit(backend):
    assert same(BACKENDS[backend]([], [quartet()], 1), batch_of([quartet()]))


@on_both
@every_one
def test_samples_without_a_draw_keep_every_bit(name, backend):
    steps, quartets = [step(name, p=0.5)], [quartet(16, 16, number) for number in range(12)]
    drawn = [plan(stages(steps), seed, 16, 16)[0] for seed in sample_seeds(5, 12)]
    before, after = batch_of(quartets), BACKENDS[backend](steps, quartets, 5)
    changed = [not torch.equal(before.image[row], after.image[row]) for row in range(12)]
    assert all(one is not None for one, differs in zip(drawn, changed, strict=True) if differs)
    assert 0 < sum(changed) < 12


@on_both
@every_one
def test_the_same_seed_gives_the_same_and_others_differ(name, backend):
    steps, quartets = [step(name, p=0.5 if name in WITHOUT_STRENGTH else 1.0)], [quartet()] * 4
    first, again, other = (BACKENDS[backend](steps, quartets, seed) for seed in (0, 0, 1))
    assert same(first, again)
    assert not same(first, other)
    if name not in WITHOUT_STRENGTH:
        assert len({one.numpy().tobytes() for one in first.image}) > 2  # each sample has a draw of its own


@on_both
def test_what_is_given_is_left_as_it_is(backend):
    quartets = [quartet(16, 20, number) for number in range(4)]
    for one in quartets:
        for array in (one.image, one.background, one.mask, one.mask_valid, one.depth, one.valid):
            array.setflags(write=False)  # as those that are mapped from a pack
    BACKENDS[backend]([step(name, p=1.0) for name in ALL], quartets, 0)
    batch = batch_of(quartets)
    make_batch_augment([step(name, p=0.7) for name in ALL], RELATIVE)(batch, 0)
    assert same(batch, batch_of(quartets))


@on_both
@pytest.mark.parametrize("apart", [False, True])
def test_a_triplet_is_augmented_as_its_quartet_would_be(backend, apart):
    steps = [step(name) for name in GEOMETRIC] + [step(name, p=0.5, apart=apart) for name in PHOTOMETRIC]
    quartets = [quartet(16, 20, number) for number in range(4)]
    whole = BACKENDS[backend](steps, quartets, 2)
    done = BACKENDS[backend](steps, [replace(one, background=None) for one in quartets], 2)
    assert done.background is None
    assert same(done, whole, "image", "mask", "mask_valid", "depth", "valid")


@on_both
def test_all_the_same_size_comes_out(backend):
    steps = [step(name, p=1.0) for name in ALL]
    for height, width in ((2, 3), (31, 8), (8, 64)):
        done = BACKENDS[backend](steps, [quartet(height, width)], 0)
        assert done.image.shape == (1, 3, height, width)
        assert done.depth.shape == (1, 1, height, width)


def test_worker_processes_give_the_same():
    augment = make_augment([step(name, p=0.5) for name in ALL], RELATIVE)
    quartets, seeds = [quartet(16, 20, number) for number in range(12)], range(100, 112)
    here = [augment(one, seed) for one, seed in zip(quartets, seeds, strict=True)]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        there = list(pool.map(augment, quartets, seeds))
    assert same(batch_of(here), batch_of(there))


def test_the_random_states_of_torch_and_numpy_are_neither_read_nor_moved():
    steps, quartets = [step(name, p=0.5) for name in ALL], [quartet(16, 20, number) for number in range(4)]
    torch.manual_seed(1)
    first = on_device(steps, quartets, 9)
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002  the global state is what this is about
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    again = on_device(steps, quartets, 9)
    on_cpu(steps, quartets, 9)
    assert same(first, again)
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002


def test_the_size_of_the_batch_does_not_change_the_draws():
    steps, quartets = [step(name) for name in ALL], [quartet(16, 20, number) for number in range(6)]
    few, many = on_device(steps, quartets[:4], 3), on_device(steps, quartets, 3)
    assert torch.allclose(few.image, many.image[:4], atol=1e-6)
    assert torch.equal(few.depth, many.depth[:4])


def test_descriptions_load_no_heavy_library():
    code = (
        "import sys, dmx.data.augment as a; a.rotation(); a.gaussian_noise(); "
        "sys.exit(', '.join({'torch', 'albumentations', 'kornia', 'scipy'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
