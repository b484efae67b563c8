"""Both back ends do the same, and both do what albumentations, torchvision, OpenCV and numpy would do."""

from dataclasses import replace
from random import Random

import albumentations
import cv2
import numpy as np
import pytest
import torch
from helpers.augmenting import BACKENDS, GEOMETRIC, batch_of, legal, on_cpu, on_device, quartet, step
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as vision

from dmx.data.augment.device import sample_seeds
from dmx.data.augment.steps import Blur, Colour, Power, plan, stages
from dmx.registry import augmentations

GREY = 1 / 255
on_both = pytest.mark.parametrize("backend", list(BACKENDS))


@pytest.mark.parametrize("name", sorted(set(augmentations) - {"gaussian_noise"}))
@settings(max_examples=25)
@given(data=st.data(), seed=st.integers(0, 2**63))
def test_both_give_the_same_pictures(name, data, seed):
    """Within the CPU's rounding to grey levels, half a level, and OpenCV's 8-bit weights: 0.72 was seen."""
    quartets = [quartet(36, 48, number) for number in range(2)]
    steps = [step(name, **data.draw(legal(augmentations[name], p=0.7)))]
    cpu, device = on_cpu(steps, quartets, seed), on_device(steps, quartets, seed)
    assert (cpu.image - device.image).abs().max() <= 1.0 * GREY
    assert (cpu.background - device.background).abs().max() <= 1.0 * GREY
    for role in ("mask", "mask_valid", "depth", "valid"):
        # where a place falls between two pixels to the last digit, either is the nearest
        assert (getattr(cpu, role) != getattr(device, role)).float().mean() <= 0.01, role


def test_both_apply_many_steps_in_the_same_order():
    names = ["brightness", "rotation", "gaussian_blur", "scale", "horizontal_flip", "contrast", "perspective", "gamma"]
    steps, quartets = [step(name, p=0.8) for name in names], [quartet(40, 56, number) for number in range(16)]
    cpu, device = on_cpu(steps, quartets, 0), on_device(steps, quartets, 0)
    assert (cpu.image - device.image).abs().max() <= 3 * GREY  # each of six stages rounds once on the CPU
    assert (cpu.depth != device.depth).float().mean() <= 0.001
    turned = on_device(steps[::-1], quartets, 0)
    assert (turned.image - device.image).abs().mean() > 3 * GREY


@on_both
def test_flips_mirror(backend):
    given_ = quartet()
    for name, axis in (("horizontal_flip", 1), ("vertical_flip", 0)):
        mirrored = {
            role: np.ascontiguousarray(np.flip(getattr(given_, role), axis))
            for role in ("image", "background", "mask", "mask_valid", "depth", "valid")
        }
        expected, done = batch_of([replace(given_, **mirrored)]), BACKENDS[backend]([step(name, p=1.0)], [given_], 0)
        for role in mirrored:
            tolerance = 1e-5 if backend == "device" and role in ("image", "background") else 0
            assert (getattr(done, role).float() - getattr(expected, role).float()).abs().max() <= tolerance, role


@on_both
@pytest.mark.parametrize("seed", range(5))
def test_random_crop_pads_by_reflection_and_crops(backend, seed):
    given_ = quartet(32, 40)
    done = BACKENDS[backend]([step("random_crop", padding=0.25)], [given_], seed)
    padded = np.pad(given_.depth, ((8, 8), (10, 10)), mode="reflect")
    crops = np.lib.stride_tricks.sliding_window_view(padded, (32, 40))
    [(down, across)] = np.argwhere((crops == done.depth[0, 0].numpy()).all(axis=(2, 3)))  # exactly one place
    picture = np.pad(given_.image, ((8, 8), (10, 10), (0, 0)), mode="reflect")[down : down + 32, across : across + 40]
    expected = batch_of([replace(given_, image=np.ascontiguousarray(picture))]).image
    assert (done.image - expected).abs().max() <= (1e-5 if backend == "device" else 0)


def matrix_of(name, seed, height, width):
    """What is drawn for the only sample of a batch with that seed."""
    [warp] = plan(stages([step(name, p=1.0)]), sample_seeds(seed, 1)[0], height, width)
    return warp.matrix


DISC = torch.from_numpy(((np.mgrid[:48, :48] - 23.5) ** 2).sum(axis=0) < 18**2)
"""Where no border comes in."""


@on_both
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_rotation_turns_as_torchvision_does(backend, seed):
    a, b = matrix_of("rotation", seed, 48, 48)[0, :2]
    angle = np.degrees(np.arctan2(b, a))
    given_ = quartet(48, 48)
    done = BACKENDS[backend]([step("rotation", p=1.0)], [given_], seed)
    expected = vision.rotate(batch_of([given_]).image, angle, InterpolationMode.BILINEAR)
    assert abs(angle) > 0.5
    assert (done.image - expected).abs()[..., DISC].max() <= 0.6 * GREY
    assert (done.image - batch_of([given_]).image).abs()[..., DISC].max() > 5 * GREY


@on_both
@pytest.mark.parametrize("name", ["rotation", "scale"])
def test_affine_maps_are_those_of_albumentations(backend, name):
    matrix = matrix_of(name, 3, 48, 48)
    angle = np.degrees(np.arctan2(matrix[0, 1], matrix[0, 0]))
    factor = np.hypot(*matrix[0, :2])
    given_ = quartet(48, 48)
    other = albumentations.Compose(
        [
            albumentations.Affine(
                rotate=(angle, angle), scale=(factor, factor), border_mode=cv2.BORDER_REFLECT_101, p=1.0
            )
        ],
        additional_targets={"depth": "mask"},
        strict=True,
    )(image=given_.image, mask=given_.mask, depth=given_.depth)
    done = BACKENDS[backend]([step(name, p=1.0)], [given_], 3)
    expected = torch.from_numpy(other["image"]).permute(2, 0, 1)[None] / 255
    assert (done.image - expected).abs().max() <= (0 if backend == "cpu" else 0.6 * GREY)
    assert np.mean(done.depth[0, 0].numpy() != other["depth"]) <= 0.001
    assert np.mean(done.mask[0, 0].numpy() != other["mask"]) <= 0.001


def test_maps_are_those_of_opencv():
    for seed in range(20):
        degrees = Random(seed).uniform(-30, 30)
        turned = step("rotation", degrees=30).draw(Random(seed), 20, 30)
        assert np.allclose(turned[:2], cv2.getRotationMatrix2D((14.5, 9.5), degrees, 1))
        factor = np.exp(Random(seed).uniform(-np.log(2), np.log(2)))
        scaled = step("scale", factor=2).draw(Random(seed), 20, 30)
        assert np.allclose(scaled[:2], cv2.getRotationMatrix2D((14.5, 9.5), 0, factor))


@on_both
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("name", ["saturation", "grayscale", "gamma", "gaussian_blur", "brightness", "contrast"])
def test_values_are_those_of_torchvision(backend, name, seed):
    [drawn] = plan(stages([step(name, p=1.0)]), sample_seeds(seed, 1)[0], 36, 48)
    given_ = quartet(36, 48)
    image = batch_of([given_]).image
    match drawn.image:
        case Power(exponent):
            expected = vision.adjust_gamma(image, exponent)
        case Blur(sigma, size):
            expected = vision.gaussian_blur(image, [size, size], [sigma, sigma])
        case Colour(matrix) if name == "brightness":
            expected = (image + matrix[0, 3]).clamp(0, 1)
        case Colour(matrix) if name == "contrast":
            expected = (matrix[0, 0] * (image - 0.5) + 0.5).clamp(0, 1)
        case Colour(matrix):
            expected = vision.adjust_saturation(image, 1 - matrix[0, 1] / 0.587)
    done = BACKENDS[backend]([step(name, p=1.0)], [given_], seed)
    assert (done.image - expected).abs().max() <= 1.0 * GREY
    if name != "gaussian_blur":  # a slight blur leaves smooth pictures as they are
        assert (done.image - image).abs().max() > 2 * GREY


def test_every_map_is_drawn_on_the_device_as_on_the_cpu():
    """No generator is shared, yet all maps are: the same seeds give the same places, sample by sample."""
    quartets = [quartet(24, 24, number) for number in range(8)]
    for name in GEOMETRIC:
        steps = [step(name, p=0.5)]
        assert (on_cpu(steps, quartets, 1).depth != on_device(steps, quartets, 1).depth).float().mean() <= 0.001
