import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dmx.losses.sampling import known_tuples
from dmx.losses.virtual_normals import virtual_normals

H, W = 9, 12


def rays(focal: float) -> np.ndarray:
    """The direction of each pixel, (H, W, 3)."""
    f = focal * max(H, W)
    return np.array([[[(u - (W - 1) / 2) / f, (v - (H - 1) / 2) / f, 1] for u in range(W)] for v in range(H)])


def plane(normal: np.ndarray, distance: float, focal: float) -> np.ndarray:
    """Depth of the plane n · P = distance."""
    return distance / (rays(focal) @ normal)


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x)


def test_by_hand(depth_scene):
    """A wall tilted by 45 degrees, n = (1, 0, 1)/√2, for one that is not, n = (0, 0, 1): 1/√2 + 1 - 1/√2."""
    tilted, wall = plane(unit(np.array([1.0, 0, 1])), 2.0, 1.0), plane(np.array([0.0, 0, 1]), 3.0, 1.0)
    assert virtual_normals(*depth_scene(tilted, wall)).item() == pytest.approx(1.0)


@given(st.integers(0, 1000), st.floats(0.5, 3), st.floats(0, 0.3))
def test_of_two_planes_it_is_the_distance_of_their_normals(depth_scene, seed, focal, reach):
    rng = np.random.default_rng(seed)
    n_y, n_t = (unit(np.append(rng.uniform(-0.4, 0.4, 2), 1)) for _ in range(2))
    scene = depth_scene(plane(n_y, 2.0, focal), plane(n_t, 5.0, focal))
    loss = virtual_normals(*scene, focal=focal, reach=reach / focal)
    assert loss.item() == pytest.approx(np.abs(n_y - n_t).sum(), rel=1e-6)


def angle(at: np.ndarray, p: np.ndarray, q: np.ndarray) -> float:
    return np.degrees(np.arccos(np.clip(unit(p - at) @ unit(q - at), -1, 1)))


@given(st.integers(0, 60), st.floats(0, 0.4))
def test_agrees_with_loops_over_the_same_triples(depth_scene, seed, reach):
    rng = np.random.default_rng(seed)
    y, t = rng.uniform(1, 3, (2, H, W))
    valid = rng.random((H, W)) < 0.8
    triples, used = known_tuples(torch.tensor(valid)[None, None], 3)
    costs = []
    for places in triples[used].tolist():
        a, b, c = (t.flat[i] * rays(1.0).reshape(-1, 3)[i] for i in places)
        least = reach * (a[2] + b[2] + c[2]) / 3
        if min(angle(a, b, c), angle(b, c, a), angle(c, a, b)) <= 30:
            continue
        if min(np.linalg.norm(p - q) for p, q in ((a, b), (b, c), (c, a))) <= least:
            continue
        n_t = unit(np.cross(b - a, c - a))
        a, b, c = (y.flat[i] * rays(1.0).reshape(-1, 3)[i] for i in places)
        costs.append(np.abs(unit(np.cross(b - a, c - a)) - n_t).sum())
    loss = virtual_normals(*depth_scene(y, t, valid), reach=reach)
    assert loss.item() == pytest.approx(np.mean(costs) if costs else 0, abs=1e-9)


@given(st.floats(0.5, 20))
def test_a_factor_does_not_matter(depth_scene, factor):
    """Down to where narrow triangles of the prediction become points."""
    y, t = np.random.default_rng(0).uniform(1, 3, (2, H, W))
    one, other = virtual_normals(*depth_scene(y, t)), virtual_normals(*depth_scene(factor * y, t))
    assert other.item() == pytest.approx(one.item(), rel=1e-9)


@pytest.mark.parametrize("depth", [0.0, 1e-9, 2.0, 1e6])
def test_triangles_without_a_direction_have_no_huge_gradient(depth_scene, depth):
    """They shrink to points for depths near 0, and to lines where three pixels of a row are equally far."""
    prediction, batch = depth_scene(np.full((H, W), depth), np.random.default_rng(0).uniform(1, 3, (H, W)))
    prediction.depth.requires_grad_()
    loss = virtual_normals(prediction, batch)
    loss.backward()
    assert loss.item() > 0.5
    assert prediction.depth.grad.abs().max() < 100


def test_nan_in_a_triangle_that_is_left_out_is_not_lost(depth_scene):
    """With a reach that no triangle has, none counts."""
    y, t = np.ones((H, W)), np.ones((H, W))
    assert virtual_normals(*depth_scene(y, t), reach=1.0, focal=10.0).item() == 0
    y[4, 5] = np.nan
    assert virtual_normals(*depth_scene(y, t), reach=1.0, focal=10.0).isnan()
