"""Where an object may stand: draws until enough of it is seen."""

from dataclasses import dataclass

import numpy as np

from dmx.data.compose.blend import Composed, Cutout, Place, Scene, compose
from dmx.data.compose.camera import Camera, Floor

TRIES = 40
LEAST_COVERED = 0.01
"""Of the picture that the mask must cover."""
LEAST_SEEN = 0.3
"""Of the object that must be seen."""
EYE = (1.2, 1.6)
"""Metres of the camera above the floor, drawn where no floor is found."""
TALL = (0.3, 0.75)
"""Height of the object over that of the picture, drawn where the scene has no depth."""


@dataclass(frozen=True)
class Stand:
    """What limits an object that stands in a scene with depth.

    Attributes:
        object_height: Least and greatest length of its longer side, in metres.
        distance: Least and greatest distance, in metres.
        step: Metres between two depths that can be stored.
    """

    object_height: tuple[float, float]
    distance: tuple[float, float]
    step: float


def stand(
    scene: Scene, cutout: Cutout, camera: Camera, floor: Floor | None, limits: Stand, rng: np.random.Generator
) -> Composed | None:
    """Put an object onto the floor of a scene with metric depth; None where no draw shows enough of it.

    At z metres what is H metres long takes f H / z pixels. The longer side of the cut-out is taken as the length, for
    some people sit or lie. It may stand partly outside of the frame.
    """
    top, bottom, left, right = cutout.box
    for _ in range(TRIES):
        z = round(rng.uniform(*limits.distance) / limits.step) * limits.step
        scale = camera.f * rng.uniform(*limits.object_height) / z / max(bottom - top, right - left)
        level = Floor(rng.uniform(*EYE), 0.0)
        row = (floor or level).row(camera, z)
        place = Place(scale, row, rng.uniform(0, scene.valid.shape[1]), z)
        if (composed := _shown(scene, cutout, place)) is not None:
            return composed
    return None


def lay(scene: Scene, cutout: Cutout, rng: np.random.Generator) -> Composed | None:
    """Lay an object over a scene without depth, wholly in the frame, as the sets of this kind were made."""
    height, width = scene.valid.shape
    top, bottom, left, right = cutout.box
    for _ in range(TRIES):
        scale = min(rng.uniform(*TALL) * height / (bottom - top), width / (right - left))
        tall, half = (bottom - top) * scale, (right - left) * scale / 2
        place = Place(scale, rng.uniform(tall, height), rng.uniform(half, width - half), None)
        if (composed := _shown(scene, cutout, place)) is not None:
            return composed
    return None


def _shown(scene: Scene, cutout: Cutout, place: Place) -> Composed | None:
    composed = compose(scene, cutout, place)
    enough = composed.seen >= LEAST_SEEN and composed.mask.mean() >= LEAST_COVERED
    return composed if enough else None
