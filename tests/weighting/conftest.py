"""Explicit gradients, of which the weightings only see the inner products."""

from collections.abc import Callable

import numpy as np
import pytest
import torch


@pytest.fixture(scope="session")
def vectors() -> Callable[..., np.ndarray]:
    """Random gradients, one row for each task: lengths over two decades, all angles."""

    def make(seed: int, tasks: int = 2, size: int = 3) -> np.ndarray:
        random = np.random.default_rng(seed)
        return random.normal(size=(tasks, size)) * 10 ** random.uniform(-1, 1, (tasks, 1))

    return make


@pytest.fixture(scope="session")
def weigh() -> Callable[..., np.ndarray]:
    """The weights that a weighting gives to explicit gradients; all losses are 1 unless told."""

    def make(weighting, g, losses=None) -> np.ndarray:
        g = torch.as_tensor(np.asarray(g), dtype=torch.float64)
        losses = torch.ones(len(g), dtype=torch.float64) if losses is None else torch.as_tensor(losses).double()
        return weighting(losses, g @ g.T).numpy()

    return make
