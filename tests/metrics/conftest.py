from collections.abc import Callable

import numpy as np
import pytest
import torch

from dmx.quartet import Batch, DepthSpec, Prediction


def picture(values, dtype=torch.float64):
    """An array or nested lists as (B, 1, H, W); a flat list is one row of one sample."""
    x = torch.as_tensor(np.asarray(values), dtype=dtype)
    return x.reshape((1,) * (4 - x.ndim) + tuple(x.shape))


@pytest.fixture(scope="session")
def scene() -> Callable[..., tuple[Prediction, Batch]]:
    """A prediction (z, y) and the truth (g, t) of it, with where each is known; what is left out is all ones."""

    def make(z=None, g=None, y=None, t=None, g_valid=None, t_valid=None) -> tuple[Prediction, Batch]:
        ones = np.ones_like(np.asarray(next(x for x in (z, y) if x is not None), dtype=float))
        z, g, y, t = (picture(ones if x is None else x) for x in (z, g, y, t))
        g_valid, t_valid = (picture(ones if x is None else x, torch.bool) for x in (g_valid, t_valid))
        ids = tuple(str(i) for i in range(len(g)))
        image = torch.zeros(len(g), 3, *g.shape[2:])
        return Prediction(z, y), Batch(ids, image, None, g, g_valid, t, t_valid)

    return make


@pytest.fixture(scope="session")
def metres() -> DepthSpec:
    return DepthSpec("metric", 0.5, 10.0)


@pytest.fixture(scope="session")
def disparity() -> DepthSpec:
    return DepthSpec("relative", 0.0, 1.0, near="high")
