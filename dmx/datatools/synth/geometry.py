"""Solids and where rays meet them: closed forms, but for the torus, which is traced by its distance.

Rays start in one point and are p(t) = origin + t * d. Each solid is described in a frame of its own, upright along z.
Kajiya, "Ray tracing" course notes (SIGGRAPH 1989) has the quadrics; Hart 1996 ("Sphere tracing") the march.

A solid has a material: its colour is a function of two lengths along its surface, in metres (procedural textures).
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, UInt64

Pattern = Literal["plain", "checker", "stripes", "bricks", "planks", "dots", "noise"]
PATTERNS: tuple[Pattern, ...] = get_args(Pattern)

Values = Float[np.ndarray, "N"]


@dataclass(frozen=True)
class Material:
    """What a surface looks like.

    Attributes:
        pattern: How `first` and `second` alternate.
        first: Linear RGB in [0, 1].
        second: Linear RGB in [0, 1].
        pitch: Metres from one repetition to the next.
        grain: How much fine noise is laid over it, in [0, 1].
        gloss: How strong highlights are, in [0, 1].
        seed: Which noise.
    """

    pattern: Pattern
    first: tuple[float, float, float]
    second: tuple[float, float, float]
    pitch: float
    grain: float
    gloss: float
    seed: int

    def colour(self, u: Values, v: Values) -> Float[np.ndarray, "N 3"]:
        """Linear RGB at the places (u, v)."""
        share = _share(self.pattern, u / self.pitch, v / self.pitch, self.seed)[:, None]
        colour = (1 - share) * np.array(self.first) + share * np.array(self.second)
        grain = noise(u / 0.07, v / 0.07, self.seed + 1) + noise(u / 0.4, v / 0.4, self.seed + 2)
        return np.asarray(colour * (1 + self.grain * (grain - 1)[:, None]))


def _share(pattern: Pattern, u: Values, v: Values, seed: int) -> Values:
    """How much of the second colour is at (u, v), in [0, 1]."""
    match pattern:
        case "plain":
            return np.zeros_like(u)
        case "checker":
            return np.asarray((np.floor(u) + np.floor(v)) % 2)
        case "stripes":
            return np.asarray(np.floor(2 * u) % 2)
        case "bricks":
            row = np.floor(2 * v)
            joint = ((u + 0.5 * (row % 2)) % 1 < 0.06) | ((2 * v) % 1 < 0.12)
            return np.where(joint, 1.0, 0.35 * hashed(np.floor(u + 0.5 * (row % 2)), row, seed))
        case "planks":
            row = np.floor(2 * u)
            board = np.floor(0.3 * v + hashed(row, np.zeros_like(row), seed))
            return np.where((2 * u) % 1 < 0.05, 1.0, 0.6 * hashed(row, board, seed + 1))
        case "dots":
            return (np.hypot(u % 1 - 0.5, v % 1 - 0.5) < 0.3).astype(float)
        case "noise":
            return np.asarray(0.65 * noise(u, v, seed) + 0.35 * noise(3 * u, 3 * v, seed + 1))


def noise(u: Values, v: Values, seed: int) -> Values:
    """Value noise in [0, 1]: random numbers on the integer grid, blended by the cubic 3 t^2 - 2 t^3."""
    i, j = np.floor(u), np.floor(v)
    s, t = u - i, v - j
    s, t = s * s * (3 - 2 * s), t * t * (3 - 2 * t)
    low = (1 - s) * hashed(i, j, seed) + s * hashed(i + 1, j, seed)
    high = (1 - s) * hashed(i, j + 1, seed) + s * hashed(i + 1, j + 1, seed)
    return np.asarray((1 - t) * low + t * high)


def hashed(i: Values, j: Values, seed: int) -> Values:
    """A number in [0, 1) for each cell of the grid: Weyl steps and the mixing of SplitMix64 (Steele et al. 2014)."""
    key = _mixed(i.astype(np.int64).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed))
    key = _mixed(j.astype(np.int64).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + key)
    return np.asarray((key >> np.uint64(11)).astype(float) / 2**53)


def _mixed(key: UInt64[np.ndarray, "N"]) -> UInt64[np.ndarray, "N"]:
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(key ^ (key >> np.uint64(31)))


Shape = Literal["box", "ball", "frustum", "capsule", "torus"]
Vector = Float[np.ndarray, "3"]
Points = Float[np.ndarray, "N 3"]

NEAREST = 1e-6
TRACE_STEPS = 1000
"""Enough for rays that pass the surface at 10 micrometres, which 100 steps took for hits or lost."""
TRACE_END = 1e-7


@dataclass(frozen=True)
class Part:
    """A solid in the world, in metres.

    `size` is, by shape: box, half its edges; ball, its half axes; frustum, radius at the bottom, radius at the top and
    half the height; capsule, radius and half the length of its axis; torus, radius of the ring and of the tube.
    `turn` turns its own frame into the world's: world = centre + turn @ own.
    """

    shape: Shape
    centre: Vector
    turn: Float[np.ndarray, "3 3"]
    size: Vector
    material: Material

    def to_own(self, points: Points) -> Points:
        """World points in its own frame (einsum, not BLAS, whose bits may depend on the number of threads)."""
        return np.asarray(np.einsum("nj,jk->nk", points - self.centre, self.turn))

    def intersect(self, origin: Vector, d: Points) -> Values:
        """The least t > 0 at which each ray enters it; infinity where it does not. The origin must be outside."""
        o = np.einsum("j,jk->k", origin - self.centre, self.turn)
        with np.errstate(divide="ignore", invalid="ignore"):
            return _INTERSECT[self.shape](o, np.einsum("nj,jk->nk", d, self.turn), self.size)

    def normal(self, own: Points) -> Points:
        """Unit normals, in the world, at points of its surface given in its own frame."""
        n = _NORMAL[self.shape](own, self.size)
        return np.asarray(np.einsum("nk,jk->nj", n / np.linalg.norm(n, axis=1, keepdims=True), self.turn))


def leave_box(o: Vector, d: Points, size: Vector) -> Values:
    """The t at which rays from within a box of half edges `size` leave it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.nanmin(np.maximum((-size - o) / d, (size - o) / d), axis=1))


def _first(*candidates: Values) -> Values:
    """The least of several t, where infinity and NaN mean none."""
    ts = np.stack(candidates)
    return np.asarray(np.where(ts > NEAREST, ts, np.inf).min(axis=0))


def _roots(a: Values, b: Values, c: Values) -> tuple[Values, Values]:
    """The real roots of a t^2 + 2 b t + c = 0, NaN where there is none; in the form without cancellation."""
    q = -(b + np.where(b < 0, -1.0, 1.0) * np.sqrt(b * b - a * c))
    return q / a, c / q


def _box(o: Vector, d: Points, size: Vector) -> Values:
    one, other = (-size - o) / d, (size - o) / d
    enter, leave = np.fmin(one, other).max(axis=1), np.fmax(one, other).min(axis=1)
    return np.where((enter <= leave) & (enter > NEAREST), enter, np.inf)


def _ball(o: Vector, d: Points, size: Vector) -> Values:
    o, d = o / size, d / size
    c = np.full(len(d), (o * o).sum() - 1)
    return _first(*_roots((d * d).sum(axis=1), np.einsum("nj,j->n", d, o), c))


def _frustum(o: Vector, d: Points, size: Vector) -> Values:
    bottom, top, h = size
    k, middle = (top - bottom) / (2 * h), (bottom + top) / 2  # r(z) = middle + k z
    r = middle + k * o[2]
    a = d[:, 0] ** 2 + d[:, 1] ** 2 - (k * d[:, 2]) ** 2
    b = d[:, 0] * o[0] + d[:, 1] * o[1] - k * d[:, 2] * r
    c = np.full(len(d), o[0] ** 2 + o[1] ** 2 - r**2)
    sides = [np.where(np.abs(o[2] + t * d[:, 2]) <= h, t, np.inf) for t in _roots(a, b, c)]
    caps = []
    for z, radius in ((-h, bottom), (h, top)):
        t = (z - o[2]) / d[:, 2]
        inside = (o[0] + t * d[:, 0]) ** 2 + (o[1] + t * d[:, 1]) ** 2 <= radius**2
        caps.append(np.where(inside, t, np.inf))
    return _first(*sides, *caps)


def _capsule(o: Vector, d: Points, size: Vector) -> Values:
    r, h = size[0], size[1]
    tube = _roots(
        d[:, 0] ** 2 + d[:, 1] ** 2,
        d[:, 0] * o[0] + d[:, 1] * o[1],
        np.full(len(d), o[0] ** 2 + o[1] ** 2 - r**2),
    )
    sides = [np.where(np.abs(o[2] + t * d[:, 2]) <= h, t, np.inf) for t in tube]
    ends = [_ball(o - np.array([0, 0, z]), d, np.full(3, r)) for z in (-h, h)]
    return _first(*sides, *ends)


def _torus(o: Vector, d: Points, size: Vector) -> Values:
    """Only rays that meet the ball around it are traced, each until it is nearer than `TRACE_END` or has passed."""
    ring, tube = size[0], size[1]
    speed = np.linalg.norm(d, axis=1)
    found = np.full(len(d), np.inf)
    t = _ball(o, d, np.full(3, ring + tube))
    live = np.flatnonzero(np.isfinite(t))
    for _ in range(TRACE_STEPS):
        if not len(live):
            break
        p = o + t[live, None] * d[live]
        gap = np.hypot(np.hypot(p[:, 0], p[:, 1]) - ring, p[:, 2]) - tube
        found[live[gap < TRACE_END]] = t[live[gap < TRACE_END]]
        t[live] += gap / speed[live]
        passed = np.einsum("nj,nj->n", p, p) > (ring + tube) ** 2 + NEAREST
        live = live[(gap >= TRACE_END) & ~passed]
    return found


def _box_normal(own: Points, size: Vector) -> Points:
    face = box_face(own, size)
    return np.asarray(np.eye(3)[face // 2] * np.where(face % 2, 1.0, -1.0)[:, None])


def box_face(own: Points, size: Vector) -> np.ndarray:
    """Which face points of a box lie on: 2 * axis, plus 1 on the positive side."""
    axis = np.abs(own / size).argmax(axis=1)
    return np.asarray(2 * axis + (own[np.arange(len(own)), axis] > 0))


def _ball_normal(own: Points, size: Vector) -> Points:
    return np.asarray(own / size**2)


def _frustum_normal(own: Points, size: Vector) -> Points:
    bottom, top, h = size
    k = (top - bottom) / (2 * h)
    cap: Bool[np.ndarray, "N"] = np.abs(own[:, 2]) > h - 1e-9
    slope = -k * (bottom + top + 2 * k * own[:, 2]) / 2
    side = np.stack([own[:, 0], own[:, 1], slope], axis=1)
    return np.where(cap[:, None], np.sign(own[:, 2:]) * np.array([0.0, 0.0, 1.0]), side)


def _capsule_normal(own: Points, size: Vector) -> Points:
    return np.asarray(own - np.clip(own[:, 2:], -size[1], size[1]) * np.array([0.0, 0.0, 1.0]))


def _torus_normal(own: Points, size: Vector) -> Points:
    flat = own * np.array([1.0, 1.0, 0.0])
    return np.asarray(own - size[0] * flat / np.linalg.norm(flat, axis=1, keepdims=True))


_INTERSECT = {"box": _box, "ball": _ball, "frustum": _frustum, "capsule": _capsule, "torus": _torus}
_NORMAL = {
    "box": _box_normal,
    "ball": _ball_normal,
    "frustum": _frustum_normal,
    "capsule": _capsule_normal,
    "torus": _torus_normal,
}
