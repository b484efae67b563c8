from collections.abc import Callable

import numpy as np
import pytest
import torch

from dmx.quartet import Batch, Prediction

Scene = tuple[Prediction, Batch]


def picture(values, dtype=torch.float64):
    """Nested lists or an array as (B, 1, H, W); a flat list is one row of one sample."""
    x = torch.as_tensor(np.asarray(values), dtype=dtype)
    return x.reshape((1,) * (4 - x.ndim) + tuple(x.shape))


@pytest.fixture(scope="session")
def mask_scene() -> Callable[..., Scene]:
    """Logits z against the mask g; depth is all ones."""

    def make(z, g, valid=None) -> Scene:
        z, g = picture(z), picture(g)
        valid = torch.ones_like(g, dtype=torch.bool) if valid is None else picture(valid, torch.bool)
        ones, image = torch.ones_like(g), torch.zeros(len(g), 3, *g.shape[2:])
        ids = tuple(str(i) for i in range(len(g)))
        return Prediction(z, ones), Batch(ids, image, None, g, valid, ones, ones.bool())

    return make


@pytest.fixture(scope="session")
def depth_scene() -> Callable[..., Scene]:
    """Predicted depth y against true depth t; the mask is all ones."""

    def make(y, t, valid=None) -> Scene:
        y, t = picture(y), picture(t)
        valid = torch.ones_like(t, dtype=torch.bool) if valid is None else picture(valid, torch.bool)
        ones, image = torch.ones_like(t), torch.zeros(len(t), 3, *t.shape[2:])
        ids = tuple(str(i) for i in range(len(t)))
        return Prediction(ones, y), Batch(ids, image, None, ones, ones.bool(), t, valid)

    return make


@pytest.fixture(scope="session")
def arrays() -> Callable[[int], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Positive y and t and their validity, (3, 1, 16, 20); unknown pixels hold NaN; the last sample knows nothing."""

    def make(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        y, t = rng.uniform(0.5, 8, (2, 3, 1, 16, 20))
        valid = rng.random(t.shape) < 0.8
        valid[:, :, :, :14] |= rng.random() < 0.5
        valid[2] = False
        return y, np.where(valid, t, np.nan), valid

    return make


@pytest.fixture(scope="session")
def masks() -> Callable[[int], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Logits z, masks g and their validity, (3, 1, 6, 7), with object and rest known; the last sample knows nothing."""

    def make(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        z, g = rng.normal(0, 3, (3, 1, 6, 7)), (rng.random((3, 1, 6, 7)) < rng.uniform(0.1, 0.9)).astype(float)
        valid = rng.random(z.shape) < 0.8
        valid[:, 0, 0, :2], g[:, 0, 0, :2] = True, (1, 0)
        valid[2] = False
        return z, np.where(valid, g, np.nan), valid

    return make
