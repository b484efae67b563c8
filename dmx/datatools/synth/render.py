"""Render a scene: colour with four rays a pixel, depth and mask with one at its centre.

Light on surfaces is Lambert's law for one lamp, light from everywhere, darker corners, and highlights:

    colour = texture * (ambient * openness * (3 + n_z) / 4 + lamp * max(0, n . l) / (1 + (r / 2.5 m)^2) * visible)
             + gloss * lamp * max(0, m . l)^24 * visible

with the normal n, the mirrored direction of view m, the direction to the lamp l and its distance r. Furniture throws
shadows. The foreground object throws none: outside the mask, image and background are the same pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from dmx.datatools.synth.figures import draw_figure, put, reach
from dmx.datatools.synth.geometry import Part, Points, Values, Vector, box_face, leave_box
from dmx.datatools.synth.scene import Scene

CORNER = 0.3
"""Distance in metres from a corner or from the ground within which surfaces are darker."""


def shade_room(scene: Scene, points: Points) -> Points:
    """Compute linear RGB of walls, floor and ceiling at `points`."""
    own = points - np.array([0, 0, scene.half[2]])
    face = box_face(own, scene.half)
    axis, far = face // 2, face % 2
    normal = np.eye(3)[axis] * np.where(far, -1.0, 1.0)[:, None]  # inwards
    colour = np.empty_like(points)
    for side, material in enumerate(scene.surfaces):
        u, v = [(1, 2), (0, 2), (0, 1)][side // 2]
        here = face == side
        colour[here] = material.colour(points[here, u], points[here, v])
    gap = np.where(np.arange(3) == axis[:, None], np.inf, scene.half - np.abs(own))
    openness = (1 - 0.35 * np.exp(-gap / CORNER)).prod(axis=1)
    for part in scene.furniture:
        openness *= 1 - 0.45 * np.exp(-_distance(part, points) / 0.15)
    return _lit(scene, points, normal, colour, openness, 0.0, scene.furniture)


def shade_part(scene: Scene, part: Part, points: Points, ground: float, blockers: Sequence[Part]) -> Points:
    """Compute linear RGB of `part` at `points` of its surface; `ground` is the height of its support."""
    own = part.to_own(points)
    colour = part.material.colour(*_unrolled(part, own))
    openness = 1 - 0.4 * np.exp(-(points[:, 2] - ground).clip(0) / CORNER)
    return _lit(scene, points, part.normal(own), colour, openness, part.material.gloss, blockers)


def _lit(
    scene: Scene,
    points: Points,
    normal: Points,
    colour: Points,
    openness: Values,
    gloss: float,
    blockers: Sequence[Part],
) -> Points:
    to_lamp = scene.lamp - points
    r = np.linalg.norm(to_lamp, axis=1)
    to_lamp /= r[:, None]
    facing = np.einsum("nj,nj->n", normal, to_lamp)
    strength = np.where(_hidden(scene.lamp, points, blockers), 0.0, 1 / (1 + (r / 2.5) ** 2))
    everywhere = scene.ambient * openness * (3 + normal[:, 2]) / 4
    light = everywhere[:, None] + (strength * facing.clip(0))[:, None] * scene.light
    view = points - scene.camera.position
    view /= np.linalg.norm(view, axis=1, keepdims=True)
    mirrored = view - 2 * np.einsum("nj,nj->n", view, normal)[:, None] * normal
    glint = gloss * strength * np.einsum("nj,nj->n", mirrored, to_lamp).clip(0) ** 24
    return np.asarray(colour * light + glint[:, None] * scene.light)


def _hidden(lamp: Vector, points: Points, blockers: Sequence[Part]) -> np.ndarray:
    """Return which points are in shadow; 1 % of the way to the lamp is excluded to avoid self-shadowing."""
    hidden = np.zeros(len(points), bool)
    for part in blockers:
        hidden |= part.intersect(lamp, points - lamp) < 0.99
    return hidden


def _distance(part: Part, points: Points) -> Values:
    """Approximate the distance of points from a part by that from its bounding box or upright cylinder."""
    own = np.abs(part.to_own(points))
    size = part.size if part.shape == "box" else np.array([part.size[0], part.size[0], part.size[2]])
    return np.asarray(np.linalg.norm((own - size).clip(0), axis=1))


def _unrolled(part: Part, own: Points) -> tuple[Values, Values]:
    """Return texture coordinates in metres: within the face of a box, else around and along the axis."""
    if part.shape == "box":
        axis = box_face(own, part.size) // 2
        return np.where(axis == 0, own[:, 1], own[:, 0]), np.where(axis == 2, own[:, 1], own[:, 2])
    around = np.arctan2(own[:, 1], own[:, 0]) * part.size[:2].mean()
    if part.shape == "frustum":
        cap = np.abs(own[:, 2]) > part.size[2] - 1e-9
        return np.where(cap, own[:, 0], around), np.where(cap, own[:, 1], own[:, 2])
    return around, own[:, 2]


FINE = 2
"""Rays along each side of a pixel, for colour only."""
AREA = (0.02, 0.4)
"""The least and the greatest share of the picture that an object covers."""
TRIES = 40


@dataclass(frozen=True)
class View:
    """The rendered room: a fine grid for colour and a coarse one for depth.

    Attributes:
        colour: Linear RGB of the fine grid.
        t: Depth of the fine grid.
        depth: Depth at the pixels' centres, in metres along the optical axis.
        ground: Whether an object could stand on the surface at the pixels' centres.
    """

    colour: Float[np.ndarray, "F 3"]
    t: Float[np.ndarray, "F"]
    depth: Float[np.ndarray, "M"]
    ground: Bool[np.ndarray, "M"]


@dataclass(frozen=True)
class Placed:
    """A placed object: its parts, the height of its support, and its visible pixels."""

    parts: tuple[Part, ...]
    ground: float
    depth: Float[np.ndarray, "M"]
    mask: Bool[np.ndarray, "M"]


def trace(parts: Sequence[Part], origin: Vector, d: Points) -> tuple[Values, Int[np.ndarray, "N"]]:
    """Return the nearest t over all parts, infinity if there is none, and the part's index."""
    ts = np.stack([part.intersect(origin, d) for part in parts]) if parts else np.full((1, len(d)), np.inf)
    which = ts.argmin(axis=0)
    return ts[which, np.arange(len(d))], which


def render_room(scene: Scene, n: int) -> View:
    """Render the room without the object, n x n pixels."""
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
    """Place an object of suitable size on a visible surface, clear of walls and furniture; None if none fits."""
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
    """Compute linear RGB of the fine grid with the object in it.

    Only pixels of the mask and their neighbours change, so image and background are equal elsewhere: structures thinner
    than a pixel that miss every pixel's centre are not drawn.
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
    """Convert to a picture of n x n pixels: average rays in linear light, then apply gamma 2.2."""
    pixels: Float[np.ndarray, "H W 3"] = colour.clip(0, 1).reshape(n, FINE, n, FINE, 3).mean(axis=(1, 3))
    return np.asarray(np.rint(255 * pixels ** (1 / 2.2)), np.uint8)


def _trace_room(scene: Scene, d: Points) -> tuple[Values, Int[np.ndarray, "N"]]:
    """Trace as `trace`, with the room's sides as part -1."""
    eye = scene.camera.position
    sides = leave_box(eye - np.array([0, 0, scene.half[2]]), d, scene.half)
    t, which = trace(scene.furniture, eye, d)
    return np.minimum(t, sides), np.where(t < sides, which, -1)


def _stands(scene: Scene, points: Points, which: Int[np.ndarray, "N"]) -> Bool[np.ndarray, "N"]:
    """Return whether an object could stand at a point: on the floor, or on top of furniture lower than 1.1 m."""
    ground = (which < 0) & (points[:, 2] < 1e-6)
    for number, part in enumerate(scene.furniture):
        top = float(part.centre[2] + part.size[2])
        if part.shape == "box" and top < 1.1 and part.size[:2].min() > 0.15:
            ground |= (which == number) & (np.abs(points[:, 2] - top) < 1e-6)
    return ground


def _heights(scene: Scene, view: View, n: int) -> Values:
    """Return the height above the floor of the surface at the pixels' centres."""
    return np.asarray(scene.camera.position[2] + view.depth * scene.camera.rays(n)[:, 2])


def _is_free(scene: Scene, parts: tuple[Part, ...], foot: Vector) -> bool:
    """Whether the object is clear of walls, camera and furniture, except the piece that it stands on."""
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
