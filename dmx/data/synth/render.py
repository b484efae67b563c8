"""From a scene to its pictures: colour with four rays a pixel, depth and mask with one at its centre."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from dmx.data.synth.figures import draw_figure, put, reach
from dmx.data.synth.geometry import Part, Points, Values, Vector, leave_box
from dmx.data.synth.scene import Scene
from dmx.data.synth.shade import shade_part, shade_room

FINE = 2
"""Rays along each side of a pixel, for the colours only."""
AREA = (0.02, 0.4)
"""The least and the greatest share of the picture that an object covers."""
TRIES = 40


@dataclass(frozen=True)
class View:
    """What the camera sees of a room: the fine grid for colour and the coarse one for depth.

    Attributes:
        colour: Linear RGB of the fine grid.
        t: Depth of the fine grid.
        depth: Depth at the pixels' centres, in metres along the optical axis.
        ground: Whether a thing could stand on what is seen at the pixels' centres.
    """

    colour: Float[np.ndarray, "F 3"]
    t: Float[np.ndarray, "F"]
    depth: Float[np.ndarray, "M"]
    ground: Bool[np.ndarray, "M"]


@dataclass(frozen=True)
class Placed:
    """An object in its place: its parts, the height of what it stands on, and what the camera sees of it."""

    parts: tuple[Part, ...]
    ground: float
    depth: Float[np.ndarray, "M"]
    mask: Bool[np.ndarray, "M"]


def trace(parts: Sequence[Part], origin: Vector, d: Points) -> tuple[Values, Int[np.ndarray, "N"]]:
    """The nearest t over all parts and which part it is; infinity where there is none."""
    ts = np.stack([part.intersect(origin, d) for part in parts]) if parts else np.full((1, len(d)), np.inf)
    which = ts.argmin(axis=0)
    return ts[which, np.arange(len(d))], which


def render_room(scene: Scene, n: int) -> View:
    """The room alone, n x n pixels."""
    eye = scene.camera.position
    d = scene.camera.rays(FINE * n)
    t, which = _trace_room(scene, d)
    points = eye + t[:, None] * d
    colour = np.empty_like(points)
    wall = which < 0
    colour[wall] = shade_room(scene, points[wall])
    for number, part in enumerate(scene.furniture):
        here = which == number
        if here.any():
            colour[here] = shade_part(scene, part, points[here], 0.0, scene.furniture)
    centre = scene.camera.rays(n)
    depth, which = _trace_room(scene, centre)
    return View(colour, t, depth, _stands(scene, eye + depth[:, None] * centre, which))


def place_object(scene: Scene, view: View, n: int, rng: np.random.Generator) -> Placed | None:
    """An object that rests on something seen, free of walls and furniture, of a size that suits; None if none fits."""
    seats = np.flatnonzero(view.ground)
    raised = seats[_heights(scene, view, n)[seats] > 0.1]
    d = scene.camera.rays(n)
    for _ in range(TRIES if len(seats) else 0):
        seat = rng.choice(raised if len(raised) and rng.random() < 0.3 else seats)
        foot = scene.camera.position + view.depth[seat] * d[seat]
        figure = draw_figure(rng)
        share = np.exp(rng.uniform(*np.log([0.03, 0.35])))
        scale = np.clip(1.5 * np.sqrt(share) * 2 * scene.camera.half * view.depth[seat], 0.15, 1.9)
        parts = put(figure, foot, float(scale))
        if not _is_free(scene, parts, foot):
            continue
        t, _ = trace(parts, scene.camera.position, d)
        mask = t < view.depth
        if AREA[0] <= mask.mean() <= AREA[1]:
            return Placed(parts, float(foot[2]), np.minimum(t, view.depth), mask)
    return None


def render_object(scene: Scene, view: View, placed: Placed, n: int) -> Points:
    """Linear RGB of the fine grid with the object in it.

    Only pixels of the mask and their neighbours change: what is thinner than a pixel and misses every pixel's centre is
    not drawn, so that elsewhere image and background are the same.
    """
    near = cv2.dilate(placed.mask.reshape(n, n).astype(np.uint8), np.ones((3, 3), np.uint8))
    rays = np.flatnonzero(near.repeat(FINE, axis=0).repeat(FINE, axis=1))
    d = scene.camera.rays(FINE * n)[rays]
    t, which = trace(placed.parts, scene.camera.position, d)
    colour = view.colour.copy()
    for number, part in enumerate(placed.parts):
        here = (which == number) & (t < view.t[rays])
        if here.any():
            points = scene.camera.position + t[here, None] * d[here]
            blockers = (*scene.furniture, *placed.parts)
            colour[rays[here]] = shade_part(scene, part, points, placed.ground, blockers)
    return colour


def develop(colour: Points, n: int) -> UInt8[np.ndarray, "H W 3"]:
    """The picture of n x n pixels: rays averaged in linear light, then gamma 2.2."""
    pixels: Float[np.ndarray, "H W 3"] = colour.clip(0, 1).reshape(n, FINE, n, FINE, 3).mean(axis=(1, 3))
    return np.asarray(np.rint(255 * pixels ** (1 / 2.2)), np.uint8)


def _trace_room(scene: Scene, d: Points) -> tuple[Values, Int[np.ndarray, "N"]]:
    """As `trace`, with the room's sides as part -1."""
    eye = scene.camera.position
    sides = leave_box(eye - np.array([0, 0, scene.half[2]]), d, scene.half)
    t, which = trace(scene.furniture, eye, d)
    return np.minimum(t, sides), np.where(t < sides, which, -1)


def _stands(scene: Scene, points: Points, which: Int[np.ndarray, "N"]) -> Bool[np.ndarray, "N"]:
    """Whether a thing could stand at a point: on the floor, or on the top of a piece lower than 1.1 m."""
    ground = (which < 0) & (points[:, 2] < 1e-6)
    for number, part in enumerate(scene.furniture):
        top = float(part.centre[2] + part.size[2])
        if part.shape == "box" and top < 1.1 and part.size[:2].min() > 0.15:
            ground |= (which == number) & (np.abs(points[:, 2] - top) < 1e-6)
    return ground


def _heights(scene: Scene, view: View, n: int) -> Values:
    """The height above the floor of what is seen at the pixels' centres."""
    return np.asarray(scene.camera.position[2] + view.depth * scene.camera.rays(n)[:, 2])


def _is_free(scene: Scene, parts: tuple[Part, ...], foot: Vector) -> bool:
    """Whether the object stays off the walls, the camera and the furniture, other than that which it stands on."""
    side, top = reach(tuple(put(parts, -foot, 1.0)))
    if (np.abs(foot[:2]) + side > scene.half[:2]).any() or foot[2] + top > 2 * scene.half[2]:
        return False
    if np.hypot(*(foot - scene.camera.position)[:2]) < side + 0.4:
        return False
    for part in scene.furniture:
        own = part.to_own(foot[None])[0]
        size = part.size if part.shape == "box" else np.array([part.size[:2].max(), part.size[:2].max(), part.size[2]])
        apart = np.hypot(*(np.abs(own) - size).clip(0)[:2]) >= side
        below = part.centre[2] + size[2] <= foot[2] + 1e-6
        above = part.centre[2] - size[2] >= foot[2] + top
        if not (apart or below or above):
            return False
    return True
