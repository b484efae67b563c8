"""The camera of a background, and the floor that it sees: how large an object appears and where its feet are.

Coordinates are the camera's: X to the right, Y down, Z along the optical axis, in metres; u and v are columns and rows.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

PITCHES = np.radians(np.arange(-10, 36))
"""Of the camera, downward. Steeper ones are left out: seen from above enough, every wall is a floor."""
HEIGHTS = (0.5, 2.0)
"""Metres of a camera above the floor that a person held or put on something."""
NEAR_FLOOR = 0.06
"""Metres from the plane within which a pixel is on it."""
LEAST_SHARE = 0.06
"""Of all known pixels that must be on the plane for it to be believed."""
LOWEST = 97
"""Percentile of the depth below the camera where the floor is looked for; what is lower is noise."""
EVERY = 3
"""Rows and columns of which one is looked at."""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera; its optical axis goes through the middle of the picture.

    Attributes:
        f: Focal length in pixels.
        cx: Column of the optical axis.
        cy: Row of the optical axis.
    """

    f: float
    cx: float
    cy: float


@dataclass(frozen=True)
class Floor:
    """A plane below the camera: Y cos(pitch) + Z sin(pitch) = height.

    Attributes:
        height: Of the camera above it, in metres.
        pitch: Of the camera, downward, in radians.
    """

    height: float
    pitch: float

    def row(self, camera: Camera, z: float) -> float:
        """Where it is seen `z` metres away: v = cy + f (height - z sin(pitch)) / (z cos(pitch))."""
        y = (self.height - z * math.sin(self.pitch)) / math.cos(self.pitch)
        return camera.cy + camera.f * y / z


def camera_of(size: tuple[int, int], crop: tuple[int, int], source_height: int, fov: float) -> Camera:
    """The camera of a picture that was cropped around its middle and resized.

    f = (source_height / 2) / tan(fov / 2), times the factor of resizing.

    Args:
        size: (height, width) after resizing.
        crop: (height, width) of what was cut out of the source.
        source_height: Rows of the source.
        fov: Its vertical field of view in degrees.
    """
    f = source_height / 2 / math.tan(math.radians(fov) / 2) * size[0] / crop[0]
    return Camera(f, size[1] / 2, size[0] / 2)


def find_floor(depth: Float32[np.ndarray, "H W"], valid: Bool[np.ndarray, "H W"], camera: Camera) -> Floor | None:
    """The plane below the camera that holds most of the scene; None where none is believable.

    For every pitch the height is that of nearly the lowest pixels, and the pitch with most pixels on its plane wins. A
    camera that is rolled is taken as level.
    """
    rows, columns = np.mgrid[: depth.shape[0] : EVERY, : depth.shape[1] : EVERY]
    known = valid[rows, columns]
    if not known.any():
        return None
    Z = depth[rows, columns][known].astype(np.float64)
    Y = (rows[known] + 0.5 - camera.cy) * Z / camera.f
    best, share = None, LEAST_SHARE
    for pitch in PITCHES:
        below = Y * np.cos(pitch) + Z * np.sin(pitch)
        height = float(np.percentile(below, LOWEST))
        on = float((np.abs(below - height) < NEAR_FLOOR).mean())
        if on > share and HEIGHTS[0] <= height <= HEIGHTS[1]:
            best, share = Floor(height, float(pitch)), on
    return best
