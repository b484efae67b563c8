"""Foreground objects, drawn at random: parts that stand on z = 0 and are about 1 m high or wide."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from dmx.datatools.synth.geometry import Material, Part, Shape, Vector
from dmx.datatools.synth.scene import draw_material, turned


def draw_figure(rng: np.random.Generator) -> tuple[Part, ...]:
    """Draw one object out of eleven kinds, at the origin, rotated randomly about the vertical."""
    material = draw_material(rng, pitch=0.35)
    other = draw_material(rng, pitch=0.35)
    parts = FIGURES[int(rng.integers(len(FIGURES)))](rng, material, other)
    turn = turned(rng.uniform(0, 2 * np.pi))
    return tuple(replace(part, centre=turn @ part.centre, turn=turn @ part.turn) for part in parts)


def put(parts: tuple[Part, ...], place: Vector, scale: float) -> tuple[Part, ...]:
    """Scale the object about its foot and move it to `place`."""
    return tuple(
        replace(
            part,
            centre=place + scale * part.centre,
            size=scale * part.size,
            material=replace(part.material, pitch=scale * part.material.pitch),
        )
        for part in parts
    )


def reach(parts: tuple[Part, ...]) -> tuple[float, float]:
    """Return upper bounds, in metres, of the object's horizontal reach from its foot and of its height."""
    spans = [(part.centre, _extent(part)) for part in parts]
    return max(float(np.hypot(*c[:2])) + e[0] for c, e in spans), max(float(c[2]) + e[1] for c, e in spans)


def _extent(part: Part) -> tuple[float, float]:
    """Return how far a part extends from its centre, horizontally and upwards."""
    s = part.size
    match part.shape:
        case "box":
            side, up = float(np.hypot(s[0], s[1])), float(s[2])
        case "ball" | "frustum":
            side, up = float(max(s[0], s[1])), float(s[2])
        case "capsule":
            side, up = float(s[0]), float(s[0] + s[1])
        case "torus":
            side, up = float(s[0] + s[1]), float(s[1])
    upright = abs(part.turn[2, 2]) > 1 - 1e-9
    return (side, up) if upright else (float(np.hypot(side, up)), side)


def _part(shape: Shape, centre: tuple[float, float, float], size: tuple[float, float, float], m: Material) -> Part:
    return Part(shape, np.array(centre, float), np.eye(3), np.array(size, float), m)


def _lying(part: Part) -> Part:
    """The part with its axis along x."""
    return replace(part, turn=np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]))


def _ball(rng: np.random.Generator, m: Material, _: Material) -> list[Part]:
    z = rng.uniform(0.3, 0.5)
    return [_part("ball", (0.0, 0.0, z), (0.5, 0.5, z), m)]


def _box(rng: np.random.Generator, m: Material, _: Material) -> list[Part]:
    x, y, z = rng.uniform(0.2, 0.5, 3)
    return [_part("box", (0.0, 0.0, z), (x, y, z), m)]


def _cylinder(rng: np.random.Generator, m: Material, _: Material) -> list[Part]:
    r = rng.uniform(0.2, 0.45)
    return [_part("frustum", (0.0, 0.0, 0.5), (r, r, 0.5), m)]


def _roll(rng: np.random.Generator, m: Material, _: Material) -> list[Part]:
    r = rng.uniform(0.15, 0.35)
    return [_lying(_part("frustum", (0.0, 0.0, r), (r, r, 0.5), m))]


def _cone(rng: np.random.Generator, m: Material, _: Material) -> list[Part]:
    return [_part("frustum", (0.0, 0.0, 0.5), (rng.uniform(0.25, 0.5), rng.uniform(0.0, 0.1), 0.5), m)]


def _ring(rng: np.random.Generator, m: Material, _: Material) -> list[Part]:
    tube = rng.uniform(0.08, 0.18)
    flat = _part("torus", (0.0, 0.0, tube), (0.4, tube, 0.0), m)
    return [flat] if rng.random() < 0.3 else [replace(_lying(flat), centre=np.array([0, 0, 0.4 + tube]))]


def _capsule(rng: np.random.Generator, m: Material, _: Material) -> list[Part]:
    r = rng.uniform(0.15, 0.3)
    return [_part("capsule", (0.0, 0.0, 0.5), (r, 0.5 - r, 0.0), m)]


def _person(rng: np.random.Generator, m: Material, other: Material) -> list[Part]:
    """Two legs, two arms, trunk and head, 1 m high (the scale makes it a child's or a doll's height)."""
    apart = rng.uniform(0.05, 0.09)
    legs = [_part("capsule", (0.0, s * apart, 0.24), (0.055, 0.185, 0.0), other) for s in (-1, 1)]
    arms = [_part("capsule", (0.0, s * 0.155, 0.62), (0.04, 0.15, 0.0), m) for s in (-1, 1)]
    return [
        *legs,
        *arms,
        _part("capsule", (0.0, 0.0, 0.64), (0.11, 0.12, 0.0), m),
        _part("ball", (0.0, 0.0, 0.91), (0.09,) * 3, m),
    ]


def _lamp(rng: np.random.Generator, m: Material, other: Material) -> list[Part]:
    shade = rng.uniform(0.2, 0.32)
    return [
        _part("frustum", (0.0, 0.0, 0.03), (0.18, 0.14, 0.03), other),
        _part("frustum", (0.0, 0.0, 0.38), (0.025, 0.025, 0.34), other),
        _part("frustum", (0.0, 0.0, 0.82), (shade, 0.6 * shade, 0.18), m),
    ]


def _snowman(_: np.random.Generator, m: Material, other: Material) -> list[Part]:
    return [
        _part("ball", (0.0, 0.0, 0.27), (0.27,) * 3, m),
        _part("ball", (0.0, 0.0, 0.61), (0.19,) * 3, m),
        _part("ball", (0.0, 0.0, 0.87), (0.13,) * 3, other),
    ]


def _chair(rng: np.random.Generator, m: Material, other: Material) -> list[Part]:
    w, seat = rng.uniform(0.2, 0.28), rng.uniform(0.4, 0.5)
    legs = [
        _part("box", (x * (w - 0.03), y * (w - 0.03), seat / 2), (0.03, 0.03, seat / 2), other)
        for x in (-1, 1)
        for y in (-1, 1)
    ]
    back = _part("box", (-w + 0.03, 0.0, (1 + seat) / 2), (0.03, w, (1 - seat) / 2), m)
    return [*legs, _part("box", (0.0, 0.0, seat), (w, w, 0.03), m), back]


FIGURES: tuple[Callable[[np.random.Generator, Material, Material], list[Part]], ...] = (
    _ball,
    _box,
    _cylinder,
    _roll,
    _cone,
    _ring,
    _capsule,
    _person,
    _lamp,
    _snowman,
    _chair,
)
