"""What the tests of augmentation share: quartets, random parameters, and both back ends behind one call."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from annotated_types import Ge, Le
from hypothesis import strategies as st

from dmx.data.augment import Augmentation
from dmx.data.augment.cpu import make_augment
from dmx.data.augment.device import make_batch_augment, sample_seeds
from dmx.data.dataset import collate
from dmx.quartet import Batch, DepthSpec, Quartet
from dmx.registry import Component, Range, augmentations

CPU = torch.device("cpu")
RELATIVE = DepthSpec("relative", 0.0, 1.0)
"""Depth whose values nothing changes."""
GEOMETRIC = [name for name, one in augmentations.items() if one.facts["effect"] == "geometric"]
PHOTOMETRIC = [name for name, one in augmentations.items() if one.facts["effect"] == "photometric"]


def step(name: str, **given: Any) -> Augmentation:
    """A registered augmentation by its name."""
    made: Augmentation = augmentations[name].params(**given).bind()()
    return made


def legal(component: Component, **fixed: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Parameters from all that is legal, its ends included; those in `fixed` are given."""
    found: dict[str, st.SearchStrategy[Any]] = {}
    for name, info in component.params.model_fields.items():
        low = next((bound.ge for bound in info.metadata if isinstance(bound, Ge)), None)
        high = next((bound.le for bound in info.metadata if isinstance(bound, Le)), None)
        found[name] = st.booleans() if info.annotation is bool else st.floats(low, high)
    return st.fixed_dictionaries(found | {name: st.just(value) for name, value in fixed.items()})


def searched(component: Component, **fixed: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Parameters from where a study would look for them; those in `fixed` are given."""
    found = {
        name: st.floats(search.low, search.high)
        for name, search in component.search_space().items()
        if isinstance(search, Range)
    }
    return st.fixed_dictionaries(found | {name: st.just(value) for name, value in fixed.items()})


def quartet(height: int = 32, width: int = 40, seed: int = 0) -> Quartet:
    """Smooth random colours, an object in other ones, and depth that has a value of its own where it is unknown."""
    random = np.random.default_rng(seed)
    background = cv2.resize(random.integers(0, 256, (6, 8, 3), np.uint8), (width, height))
    mask = np.zeros((height, width), np.uint8)
    mask[height // 4 : height // 2, width // 4 : width // 2] = 1
    valid = random.random((height, width)) < 0.8
    depth = np.where(valid, random.uniform(1, 5, (height, width)), UNKNOWN).astype(np.float32)
    image = np.where(mask[..., None] > 0, 255 - background, background)
    mask_valid = random.random((height, width)) < 0.9
    return Quartet(f"s{seed}", "g", image, background, mask, mask_valid, depth, valid)


UNKNOWN = 1e30


def batch_of(quartets: Sequence[Quartet]) -> Batch:
    return collate(quartets).to(CPU)


def on_cpu(steps: Sequence[Augmentation], quartets: Sequence[Quartet], seed: int, spec: DepthSpec = RELATIVE) -> Batch:
    """The batch that the CPU's back end makes, with the draws that the device's would make."""
    augment = make_augment(steps, spec)
    seeds = sample_seeds(seed, len(quartets))
    return batch_of([augment(one, its) for one, its in zip(quartets, seeds, strict=True)])


def on_device(
    steps: Sequence[Augmentation], quartets: Sequence[Quartet], seed: int, spec: DepthSpec = RELATIVE
) -> Batch:
    return make_batch_augment(steps, spec)(batch_of(quartets), seed)


BACKENDS = {"cpu": on_cpu, "device": on_device}


def same(one: Batch, other: Batch, *roles: str) -> bool:
    """Whether two batches are the same to the last bit, in these roles or in all."""
    named = roles or ("image", "background", "mask", "mask_valid", "depth", "valid")
    return all(torch.equal(getattr(one, role), getattr(other, role)) for role in named)
