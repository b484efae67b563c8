"""How often and how strongly: the distributions that the parameters name, on both back ends."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest
from helpers.augmenting import BACKENDS, PHOTOMETRIC, quartet, step
from scipy import stats

from dmx.data.augment.device import sample_seeds
from dmx.data.augment.steps import Retouch, Warp, plan, stages
from dmx.registry import augmentations

on_both = pytest.mark.parametrize("backend", list(BACKENDS))
SAMPLES = 600


@on_both
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_flips_happen_as_often_as_asked(backend, p):
    given_ = quartet(2, 2)
    given_ = replace(given_, depth=np.array([[0, 1], [2, 3]], np.float32))
    done = BACKENDS[backend]([step("horizontal_flip", p=p), step("vertical_flip", p=p)], [given_] * SAMPLES, 0)
    first = done.depth[:, 0, 0, 0].numpy().astype(int)  # 1: mirrored across, 2: down, 3: both
    for share in ((first & 1).mean(), (first >> 1).mean()):
        assert abs(share - p) <= 4 * np.sqrt(p * (1 - p) / SAMPLES)
    assert abs(np.mean(first == 3) - p**2) <= 4 * np.sqrt(p**2 * (1 - p**2) / SAMPLES)  # each by a draw of its own


@on_both
def test_shifts_are_uniform(backend):
    given_ = quartet(8, 16)
    depth = np.arange(128, dtype=np.float32).reshape(8, 16)
    done = BACKENDS[backend]([step("random_crop", padding=0.25)], [replace(given_, depth=depth)] * SAMPLES, 0)
    y, x = np.divmod(done.depth[:, 0, 4, 8].numpy().astype(int), 16)  # what has come to the middle
    across, down = np.bincount(8 - x + 4, minlength=9), np.bincount(4 - y + 2, minlength=5)
    assert (len(across), len(down)) == (9, 5)  # -4 to 4 and -2 to 2 pixels
    assert stats.chisquare(across).pvalue > 1e-3
    assert stats.chisquare(down).pvalue > 1e-3


def draws(name, **given):
    """What 500 samples are given by a step that always happens."""
    return [plan(stages([step(name, p=1.0, **given)]), seed, 30, 50)[0] for seed in range(500)]


def is_uniform(values, low, high):
    return stats.kstest(values, "uniform", (low, high - low)).pvalue > 1e-3


def test_angles_and_factors_are_uniform():
    turned = np.stack([warp.matrix for warp in draws("rotation", degrees=30.0)])
    assert is_uniform(np.degrees(np.arctan2(turned[:, 0, 1], turned[:, 0, 0])), -30, 30)
    scaled = np.stack([warp.matrix for warp in draws("scale", factor=2.0)])
    assert is_uniform(np.log2(scaled[:, 0, 0]), -1, 1)
    assert np.allclose(scaled[:, 0, 0], scaled[:, 1, 1])


def test_corners_move_uniformly():
    corners = np.array([[-0.5, -0.5, 1], [49.5, -0.5, 1], [49.5, 29.5, 1], [-0.5, 29.5, 1]]).T
    moved = np.stack([warp.matrix @ corners for warp in draws("perspective", distortion=0.2)])
    shifts = (moved[:, :2] / moved[:, 2:] - corners[:2]) / np.array([[50], [30]])
    for shift in shifts.reshape(500, 8).T:
        assert is_uniform(shift, -0.2, 0.2)
    assert np.abs(np.corrcoef(shifts.reshape(500, 8).T) - np.eye(8)).max() < 4 / np.sqrt(500)


def test_values_are_drawn_uniformly():
    shifts = np.stack([drawn.image.matrix[:, 3] for drawn in draws("rgb_shift", limit=0.1)])
    assert all(is_uniform(channel, -0.1, 0.1) for channel in shifts.T)
    assert np.abs(np.corrcoef(shifts.T) - np.eye(3)).max() < 4 / np.sqrt(500)
    assert is_uniform([drawn.image.matrix[0, 3] for drawn in draws("brightness", limit=0.3)], -0.3, 0.3)
    assert is_uniform([drawn.image.matrix[0, 0] for drawn in draws("contrast", limit=0.3)], 0.7, 1.3)
    assert is_uniform([1 - drawn.image.matrix[0, 1] / 0.587 for drawn in draws("saturation", limit=0.3)], 0.7, 1.3)
    assert is_uniform([np.log2(drawn.image.exponent) for drawn in draws("gamma", exponent=2.0)], -1, 1)
    assert is_uniform([drawn.image.std for drawn in draws("gaussian_noise", std=0.2)], 0, 0.2)
    assert is_uniform([drawn.image.sigma for drawn in draws("gaussian_blur", sigma=2.0)], 0.1, 2)
    assert {drawn.image.size for drawn in draws("gaussian_blur", sigma=2.0)} == {13}


@on_both
def test_noise_is_normal_and_independent(backend):
    given_ = replace(quartet(64, 64), image=np.full((64, 64, 3), 128, np.uint8))
    noise = BACKENDS[backend]([step("gaussian_noise", std=0.1, p=1.0)], [given_] * 40, 0).image.numpy() - 128 / 255
    drawn = [one.image for [one] in plans_of_noise(40)]
    for field, change in zip(noise, drawn, strict=True):
        std = np.hypot(change.std, 1 / 255 / np.sqrt(12) if backend == "cpu" else 0)  # with rounding to grey levels
        assert abs(field.mean()) < 4.5 * std / np.sqrt(field.size)
        assert abs(field.std() / std - 1) < 4.5 / np.sqrt(2 * field.size)
        assert np.abs(np.corrcoef(field.reshape(3, -1)) - np.eye(3)).max() < 4.5 / 64
    strongest = noise[np.argmax([change.std for change in drawn])]
    assert stats.kstest(stats.zscore(strongest, axis=None).ravel()[::7], "norm").pvalue > 1e-3
    assert len({field.tobytes() for field in noise}) == 40


def plans_of_noise(count):
    return [plan(stages([step("gaussian_noise", std=0.1, p=1.0)]), seed, 64, 64) for seed in sample_seeds(0, count)]


def test_neighbouring_geometric_steps_become_one_warp():
    names = ["horizontal_flip", "random_crop", "brightness", "rotation", "gaussian_blur", "gamma", "scale"]
    assert [len(one) if isinstance(one, tuple) else 1 for one in stages([step(name) for name in names])] == [
        2,
        1,
        1,
        1,
        1,
        1,
    ]
    steps = [step("random_crop", padding=0.2), step("horizontal_flip", p=1.0), step("rotation", p=1.0)]
    [warp] = plan(stages(steps), 3, 20, 30)
    random, matrix = Random(3), np.eye(3)
    for one in steps:
        assert random.random() < 1
        matrix = one.draw(random, 20, 30) @ matrix  # the first step is the first to be applied
    assert isinstance(warp, Warp)
    assert np.allclose(warp.matrix, matrix)


@pytest.mark.parametrize("name", PHOTOMETRIC)
def test_what_is_drawn_for_both_is_one_object(name):
    [shared] = plan(stages([step(name, p=1.0)]), 0, 8, 8)
    assert isinstance(shared, Retouch)
    assert shared.image is shared.background
    [apart] = plan(stages([step(name, p=1.0, apart=True)]), 0, 8, 8)
    assert apart.image is not apart.background


def test_every_component_says_what_it_affects():
    assert {one.facts["effect"] for one in augmentations.values()} == {"geometric", "photometric"}
