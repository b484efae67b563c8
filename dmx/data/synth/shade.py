"""Light on surfaces: Lambert's law for one lamp, light from everywhere, darker corners, and highlights.

    colour = texture * (ambient * openness * (3 + n_z) / 4 + lamp * max(0, n . l) / (1 + (r / 2.5 m)^2) * visible)
             + gloss * lamp * max(0, m . l)^24 * visible

with the normal n, the mirrored direction of view m, the direction to the lamp l and its distance r. Furniture throws
shadows. The foreground object throws none: outside the mask, image and background are the same pixels.
"""

from collections.abc import Sequence

import numpy as np

from dmx.data.synth.geometry import Part, Points, Values, Vector, box_face
from dmx.data.synth.scene import Scene

CORNER = 0.3
"""Metres from a corner or from the ground within which it is darker."""


def shade_room(scene: Scene, points: Points) -> Points:
    """Linear RGB of walls, floor and ceiling at `points`."""
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
    """Linear RGB of `part` at `points` of its surface; `ground` is the height of what it stands on."""
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
    """Where something stands between the lamp and a point; 1 % of the way is spared for the surface itself."""
    hidden = np.zeros(len(points), bool)
    for part in blockers:
        hidden |= part.intersect(lamp, points - lamp) < 0.99
    return hidden


def _distance(part: Part, points: Points) -> Values:
    """Roughly how far points are from a part: from the box, or the upright cylinder, around it."""
    own = np.abs(part.to_own(points))
    size = part.size if part.shape == "box" else np.array([part.size[0], part.size[0], part.size[2]])
    return np.asarray(np.linalg.norm((own - size).clip(0), axis=1))


def _unrolled(part: Part, own: Points) -> tuple[Values, Values]:
    """Two lengths along the surface: on a box the face's own, else around the axis and along it."""
    if part.shape == "box":
        axis = box_face(own, part.size) // 2
        return np.where(axis == 0, own[:, 1], own[:, 0]), np.where(axis == 2, own[:, 1], own[:, 2])
    around = np.arctan2(own[:, 1], own[:, 0]) * part.size[:2].mean()
    if part.shape == "frustum":
        cap = np.abs(own[:, 2]) > part.size[2] - 1e-9
        return np.where(cap, own[:, 0], around), np.where(cap, own[:, 1], own[:, 2])
    return around, own[:, 2]
