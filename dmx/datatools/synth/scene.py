"""Rooms, drawn at random: walls, furniture, lamp and camera. Metres; z is up; the room's floor is centred on 0."""

import colorsys
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from dmx.datatools.synth.geometry import PATTERNS, Material, Part, Points, Vector

CLEAR = 0.9
"""No furniture stands nearer to the camera than this."""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera with square pixels and a square picture.

    Attributes:
        position: Where it is.
        axes: Rows: right, down and forward in the world.
        half: Tangent of half the angle of view.
    """

    position: Vector
    axes: Float[np.ndarray, "3 3"]
    half: float

    def rays(self, n: int) -> Points:
        """Directions through the centres of n x n pixels, row by row, of length 1 along the optical axis.

        So the t at which a ray meets a surface is that surface's depth: z along the optical axis.
        """
        at = ((2 * np.arange(n) + 1) / n - 1) * self.half
        down, right = np.meshgrid(at, at, indexing="ij")
        own = np.stack([right.ravel(), down.ravel(), np.ones(n * n)], axis=1)
        return np.asarray(np.einsum("nk,kj->nj", own, self.axes))


@dataclass(frozen=True)
class Scene:
    """A room without the foreground object.

    Attributes:
        half: Half its width, depth and height; it reaches from z = 0 to 2 * half[2].
        surfaces: The materials of its six sides, ordered as `geometry.box_face` numbers them.
        furniture: What stands and hangs in it.
        camera: From where it is seen.
        lamp: Where the lamp is.
        light: Linear RGB of the lamp.
        ambient: How much light comes from everywhere.
    """

    half: Vector
    surfaces: tuple[Material, ...]
    furniture: tuple[Part, ...]
    camera: Camera
    lamp: Vector
    light: Vector
    ambient: float


def draw_scene(rng: np.random.Generator) -> Scene:
    """A room of 3.2 to 7.5 m, 2.3 to 3.2 m high, so that no depth exceeds 11.1 m."""
    half = np.array([rng.uniform(1.6, 3.75), rng.uniform(1.6, 3.75), rng.uniform(1.15, 1.6)])
    camera = draw_camera(rng, half)
    wall, accent = draw_material(rng, pale=True), draw_material(rng, pale=True)
    walls = [accent if rng.random() < 0.3 else wall for _ in range(4)]
    floor, ceiling = draw_material(rng), draw_material(rng, pale=True, patterns=("plain", "noise"))
    pieces = [part for _ in range(rng.integers(3, 9)) for part in _draw_piece(rng, half, camera.position)]
    lamp = np.array([*(rng.uniform(-0.6, 0.6, 2) * half[:2]), 2 * half[2] - 0.25])
    warm = rng.uniform(-0.12, 0.12)
    light = rng.uniform(1.3, 2.2) * np.array([1 + warm, 1.0, 1 - warm])
    return Scene(half, (*walls, floor, ceiling), tuple(pieces), camera, lamp, light, rng.uniform(0.3, 0.5))


def draw_camera(rng: np.random.Generator, half: Vector) -> Camera:
    """A camera at the height of a hand or an eye, at one side of the room, that looks across it and down a little."""
    yaw, pitch, roll = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(-28, -6)), np.radians(rng.uniform(-3, 3))
    ahead = np.array([np.cos(yaw), np.sin(yaw)])
    room = half[:2] - 0.5
    position = np.array(
        [*np.clip(-rng.uniform(0.6, 1.0) * half[:2] * ahead * 1.2, -room, room), rng.uniform(1.1, 1.75)]
    )
    forward = np.array([*(np.cos(pitch) * ahead), np.sin(pitch)])
    right = np.array([ahead[1], -ahead[0], 0.0])
    down = np.cross(forward, right)
    axes = np.stack([np.cos(roll) * right + np.sin(roll) * down, np.cos(roll) * down - np.sin(roll) * right, forward])
    return Camera(position, axes, float(np.tan(np.radians(rng.uniform(50, 75)) / 2)))


def draw_material(
    rng: np.random.Generator, *, pale: bool = False, patterns: tuple[str, ...] = PATTERNS, pitch: float = 0.6
) -> Material:
    """A material whose two colours are near in hue and apart in lightness; `pale` as walls are."""
    hue, strength = rng.random(), rng.uniform(0.05, 0.45) if pale else rng.uniform(0.2, 0.9)
    value = rng.uniform(0.55, 0.95) if pale else rng.uniform(0.25, 0.95)
    other = value * rng.uniform(0.45, 0.8)
    return Material(
        pattern=PATTERNS[PATTERNS.index(str(rng.choice(patterns)))],
        first=colorsys.hsv_to_rgb(hue, strength, value),
        second=colorsys.hsv_to_rgb((hue + rng.normal(0, 0.08)) % 1, strength * rng.uniform(0.5, 1), other),
        pitch=pitch * rng.uniform(0.5, 1.5),
        grain=rng.uniform(0.05, 0.3),
        gloss=0.0 if pale else rng.uniform(0, 0.5),
        seed=int(rng.integers(2**31)),
    )


def turned(yaw: float) -> Float[np.ndarray, "3 3"]:
    """A turn about the vertical."""
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def _draw_piece(rng: np.random.Generator, half: Vector, eye: Vector) -> list[Part]:
    """A piece of furniture by a wall, or none where it would stand too near to the camera or through another wall."""
    wall = int(rng.integers(4))
    yaw = wall * np.pi / 2
    width, deep, depth_axis = half[1 - wall % 2], half[wall % 2], turned(yaw)
    kind = str(rng.choice(["cabinet", "table", "picture", "door", "column", "crate"]))
    parts = _PIECES[kind](rng, half[2])
    reach = max(np.abs(part.centre[1]) + part.size[1 if part.shape == "box" else 0] for part in parts)
    if reach > width - 0.1:
        return []
    along = rng.uniform(reach - width, width - reach)
    place = depth_axis @ np.array([deep, along, 0.0])  # own x points at the wall, y along it
    moved = [Part(p.shape, place + depth_axis @ p.centre, depth_axis @ p.turn, p.size, p.material) for p in parts]
    near = any(np.hypot(*(np.abs(p.centre - eye) - p.size.max()).clip(0)[:2]) < CLEAR for p in moved)
    return [] if near else moved


def _block(rng: np.random.Generator, centre: list[float], size: list[float], material: Material | None = None) -> Part:
    return Part("box", np.array(centre), np.eye(3), np.array(size), material or draw_material(rng))


def _cabinet(rng: np.random.Generator, _: float) -> list[Part]:
    x, y, z = rng.uniform(0.2, 0.35), rng.uniform(0.3, 0.9), rng.uniform(0.25, 0.95)
    return [_block(rng, [-x, 0.0, z], [x, y, z])]


def _table(rng: np.random.Generator, _: float) -> list[Part]:
    x, y, z = rng.uniform(0.3, 0.5), rng.uniform(0.4, 0.8), rng.uniform(0.4, 0.75)
    material = draw_material(rng, patterns=("plain", "planks", "noise"))
    out = rng.uniform(0.02, 0.6) + x
    legs = [
        _block(rng, [sx * (x - 0.05) - out, sy * (y - 0.05), z / 2], [0.03, 0.03, z / 2], material)
        for sx in (-1, 1)
        for sy in (-1, 1)
    ]
    return [_block(rng, [-out, 0.0, z + 0.02], [x, y, 0.02], material), *legs]


def _picture(rng: np.random.Generator, half_height: float) -> list[Part]:
    y, z = rng.uniform(0.15, 0.5), rng.uniform(0.15, 0.4)
    return [_block(rng, [-0.015, 0.0, half_height * rng.uniform(1.0, 1.3)], [0.015, y, z])]


def _door(rng: np.random.Generator, half_height: float) -> list[Part]:
    return [_block(rng, [-0.02, 0.0, 0.85 * half_height], [0.02, rng.uniform(0.35, 0.5), 0.85 * half_height])]


def _column(rng: np.random.Generator, half_height: float) -> list[Part]:
    r, z = rng.uniform(0.08, 0.22), rng.uniform(0.3, 1.0) * half_height
    size = np.array([r, r * rng.uniform(0.6, 1.0), z])
    return [Part("frustum", np.array([-r - 0.05, 0, z]), np.eye(3), size, draw_material(rng, pitch=0.3))]


def _crate(rng: np.random.Generator, _: float) -> list[Part]:
    r = rng.uniform(0.15, 0.35)
    place = np.array([-1.5 * r - rng.uniform(0, 1.0), 0, r])
    return [Part("box", place, turned(rng.uniform(0, np.pi)), np.full(3, r), draw_material(rng))]


_PIECES = {
    "cabinet": _cabinet,
    "table": _table,
    "picture": _picture,
    "door": _door,
    "column": _column,
    "crate": _crate,
}
