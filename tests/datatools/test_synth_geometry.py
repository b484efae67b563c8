"""Where rays meet solids, against planes and spheres worked out by hand, and against the solids' own equations."""

import numpy as np
import pytest

from dmx.datatools.synth.geometry import Material, Part, Shape, hashed, leave_box, noise
from dmx.datatools.synth.scene import Camera, turned

PLAIN = Material("plain", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 1.0, 0.0, 0.0, 0)
SIZES: dict[Shape, tuple[float, float, float]] = {
    "box": (0.5, 0.7, 0.3),
    "ball": (0.6, 0.4, 0.8),
    "frustum": (0.7, 0.2, 0.5),
    "capsule": (0.3, 0.4, 0.0),
    "torus": (0.6, 0.2, 0.0),
}


def part(shape: Shape, centre: tuple[float, float, float] = (0.0, 0.0, 0.0), yaw: float = 0.0) -> Part:
    return Part(shape, np.array(centre), turned(yaw), np.array(SIZES[shape]), PLAIN)


def inside(shape: Shape, own: np.ndarray) -> np.ndarray:
    """How far within the solid points are, by its own equation: negative within, 0 on the surface."""
    x, y, z = own.T
    s = SIZES[shape]
    match shape:
        case "box":
            return np.asarray((np.abs(own) / s).max(axis=1) - 1)
        case "ball":
            return np.asarray(((own / s) ** 2).sum(axis=1) - 1)
        case "frustum":
            radius = s[0] + (s[1] - s[0]) * (z + s[2]) / (2 * s[2])
            return np.maximum(np.hypot(x, y) - radius, np.abs(z) - s[2])
        case "capsule":
            return np.asarray(np.sqrt(x**2 + y**2 + (np.abs(z) - s[1]).clip(0) ** 2) - s[0])
        case "torus":
            return np.asarray((x**2 + y**2 + z**2 + s[0] ** 2 - s[1] ** 2) ** 2 - 4 * s[0] ** 2 * (x**2 + y**2))


@pytest.mark.parametrize("shape", SIZES)
def test_hits_are_first_hits(shape: Shape) -> None:
    """Sampled densely, no point before t is within the solid, the point at t is on it, and no miss passes within."""
    rng = np.random.default_rng(1)
    solid = part(shape, (0.3, -0.2, 0.1), yaw=0.7)
    origin = np.array([3.0, 1.0, 1.5])
    d = solid.centre + rng.normal(0, 0.5, (400, 3)) - origin
    t = solid.intersect(origin, d)
    hit = np.isfinite(t)
    assert 60 < hit.sum() < 390
    on = inside(shape, solid.to_own(origin + t[hit, None] * d[hit]))
    assert np.abs(on).max() < 1e-6
    steps = np.linspace(0, 1, 301)[1:-1]
    for share in steps:
        before = inside(shape, solid.to_own(origin + (share * t[hit])[:, None] * d[hit]))
        assert before.min() > -1e-6
        missed = inside(shape, solid.to_own(origin + 2 * share * d[~hit]))
        assert missed.min() > -1e-6


@pytest.mark.parametrize("shape", SIZES)
def test_normals_are_gradients(shape: Shape) -> None:
    solid = part(shape, (0.3, -0.2, 0.1), yaw=0.7)
    origin = np.array([3.0, 1.0, 1.5])
    d = solid.centre + np.random.default_rng(2).normal(0, 0.3, (200, 3)) - origin
    t = solid.intersect(origin, d)
    points = (origin + t[:, None] * d)[np.isfinite(t)]
    normal = solid.normal(solid.to_own(points))
    np.testing.assert_allclose(np.linalg.norm(normal, axis=1), 1, atol=1e-12)
    outwards = inside(shape, solid.to_own(points + 1e-4 * normal))
    assert (outwards > 1e-6).mean() > 0.99  # an edge may be met
    along = np.cross(normal, [0.3, 0.5, 0.8])
    drift = inside(shape, solid.to_own(points + 1e-5 * along / np.linalg.norm(along, axis=1, keepdims=True)))
    assert np.quantile(np.abs(drift), 0.95) < 1e-7


def test_depth_of_a_plane_and_of_a_sphere_by_hand() -> None:
    """Looking along x from the origin: a wall 4 m ahead has depth 4 everywhere; a ball at 3 m of radius 1 has 2."""
    camera = Camera(np.zeros(3), np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]]), 0.5)
    d = camera.rays(5)
    np.testing.assert_allclose(leave_box(np.zeros(3), d, np.array([4.0, 9, 9])), 4.0)
    ball = Part("ball", np.array([3.0, 0, 0]), np.eye(3), np.ones(3), PLAIN)
    t = ball.intersect(np.zeros(3), d)
    assert t[12] == pytest.approx(2.0)
    slope = (d[13] ** 2).sum()  # next to the middle: |t d - 3 x| = 1, so t = (3 - sqrt(9 - 8 |d|^2)) / |d|^2
    assert t[13] == pytest.approx((3 - np.sqrt(9 - 8 * slope)) / slope)


def test_rays_go_right_along_columns_and_down_along_rows() -> None:
    camera = Camera(np.zeros(3), np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]]), 0.5)
    d = camera.rays(4).reshape(4, 4, 3)
    np.testing.assert_allclose(d[0, 0], [1, 0.375, 0.375])
    np.testing.assert_allclose(d[0, 3], [1, -0.375, 0.375])
    np.testing.assert_allclose(d[3, 0], [1, 0.375, -0.375])


def test_noise_is_continuous_even_and_seeded() -> None:
    u = np.linspace(-3, 3, 6001)
    values = noise(u, 0.3 * u, 5)
    assert np.abs(np.diff(values)).max() < 0.01
    assert (values >= 0).all()
    assert (values <= 1).all()
    i, j = (axis.ravel().astype(float) for axis in np.mgrid[-50:50, -50:50])
    cells = hashed(i, j, 5)
    assert len(np.unique(cells)) == 10_000
    assert np.bincount((10 * cells).astype(int)).tolist() == pytest.approx([1000] * 10, abs=150)  # 5 deviations
    assert np.abs(np.corrcoef(cells, hashed(i + 1, j, 5))[0, 1]) < 0.05
    assert (cells != hashed(i, j, 6)).all()
