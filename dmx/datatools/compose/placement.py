"""Place a cut-out in a scene: position, apparent size and occlusion.

Coordinates are the camera's: X to the right, Y down, Z along the optical axis, in metres; u and v are columns and rows.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

PITCHES = np.radians(np.arange(-10, 36))
"""Candidate downward pitches of the camera, in radians. At steeper ones a wall could be taken for the floor."""
HEIGHTS = (0.5, 2.0)
"""Height range, in metres above the floor, of a camera that is hand-held or put on furniture."""
NEAR_FLOOR = 0.06
"""Greatest distance in metres of a pixel that counts as on the plane."""
LEAST_SHARE = 0.06
"""Least share of known pixels on the plane for it to be accepted as the floor."""
LOWEST = 97
"""Percentile of the distance below the camera that is taken as the floor; lower points are noise."""
EVERY = 3
"""Subsampling step of rows and columns in the search for the floor."""


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
        height: Height of the camera above the floor, in metres.
        pitch: Downward pitch of the camera, in radians.
    """

    height: float
    pitch: float

    def row(self, camera: Camera, z: float) -> float:
        """Return the row of the floor at depth `z` in metres: v = cy + f (height - z sin(pitch)) / (z cos(pitch))."""
        y = (self.height - z * math.sin(self.pitch)) / math.cos(self.pitch)
        return camera.cy + camera.f * y / z


def camera_of(size: tuple[int, int], crop: tuple[int, int], source_height: int, fov: float) -> Camera:
    """Return the camera of a picture that was centre-cropped and resized.

    f = (source_height / 2) / tan(fov / 2), times the resize factor.

    Args:
        size: (height, width) after resizing.
        crop: (height, width) of the crop in the source.
        source_height: Rows of the source.
        fov: Vertical field of view of the source in degrees.
    """
    f = source_height / 2 / math.tan(math.radians(fov) / 2) * size[0] / crop[0]
    return Camera(f, size[1] / 2, size[0] / 2)


def find_floor(depth: Float32[np.ndarray, "H W"], valid: Bool[np.ndarray, "H W"], camera: Camera) -> Floor | None:
    """Find the plane below the camera that contains most pixels; None if none is plausible.

    For every pitch the height is a high percentile of the distance below the camera; the pitch with most pixels on its
    plane wins. Camera roll is ignored.
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


OPAQUE = 0.5
"""Threshold of the visible alpha for the mask: above it the object contributes more than half of the colour."""
EDGE = 0.02
"""Distance from the more-than-half-opaque area within which alpha is kept, relative to that area's longer side. It
keeps hair and motion blur, but not a haze left over the whole picture by careless cutting (one of 99 cut-outs of EVA4
was a quarter opaque everywhere)."""


@dataclass(frozen=True)
class Cutout:
    """An object without its scene.

    Attributes:
        layer: Premultiplied colour, and alpha, all in [0, 1].
        box: (top, bottom, left, right) of the more-than-half-opaque area, in pixels; bottom and right are exclusive.
    """

    layer: Float32[np.ndarray, "H W 4"]
    box: tuple[int, int, int, int]

    def mirrored(self) -> "Cutout":
        """Mirror left and right."""
        top, bottom, left, right = self.box
        width = self.layer.shape[1]
        return Cutout(np.ascontiguousarray(self.layer[:, ::-1]), (top, bottom, width - right, width - left))


def cut_out(rgba: UInt8[np.ndarray, "H W 4"]) -> Cutout | None:
    """Make a cut-out from a picture with straight alpha; None if nothing in it is more than half opaque.

    Colours are premultiplied by alpha before resizing; otherwise transparent pixels' colours bleed into the edges.
    """
    values = rgba.astype(np.float32) / 255
    rows, columns = np.nonzero(values[..., 3] > OPAQUE)
    if not len(rows):
        return None
    box = (int(rows.min()), int(rows.max()) + 1, int(columns.min()), int(columns.max()) + 1)
    away = cv2.distanceTransform((values[..., 3] <= OPAQUE).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    values[away > max(1.0, EDGE * max(box[1] - box[0], box[3] - box[2])), 3] = 0
    values[..., :3] *= values[..., 3:]
    return Cutout(values, box)


@dataclass(frozen=True)
class Place:
    """The position and size of a cut-out in a scene.

    Attributes:
        scale: Pixels of the scene per pixel of the cut-out.
        row: The row of the bottom edge of its box.
        column: The column of the centre of its box.
        z: Its depth in metres; None if the scene has no depth.
    """

    scale: float
    row: float
    column: float
    z: float | None


@dataclass(frozen=True)
class Scene:
    """A background at its final size.

    Attributes:
        picture: RGB.
        depth: In metres; meaningless where `valid` is False.
        valid: Where depth is known; all False in a scene without depth.
    """

    picture: UInt8[np.ndarray, "H W 3"]
    depth: Float32[np.ndarray, "H W"]
    valid: Bool[np.ndarray, "H W"]


@dataclass(frozen=True)
class Composed:
    """A scene with an object in it.

    Attributes:
        image: RGB.
        mask: 1 on the object.
        depth: In metres, `z` on the object and the scene's elsewhere.
        valid: Where depth is known: on the object, and where the scene's is.
        seen: The part of the object that neither the frame nor the scene hides, from 0 to 1.
    """

    image: UInt8[np.ndarray, "H W 3"]
    mask: UInt8[np.ndarray, "H W"]
    depth: Float32[np.ndarray, "H W"]
    valid: Bool[np.ndarray, "H W"]
    seen: float


def blend(scene: Scene, cutout: Cutout, place: Place) -> Composed:
    """Composite `cutout` over `scene`.

    image = a F + (1 - a) B (Porter and Duff 1984, Compositing digital images, `over`), where F is the cut-out's colour,
    B the scene's, and a the alpha, set to 0 where the scene is nearer than the object. It blends sRGB values, not
    linear light, like existing data sets of this kind. Where the scene's depth is unknown it does not occlude.
    """
    height, width = scene.valid.shape
    layer = _resized(cutout.layer, place.scale)
    whole = np.count_nonzero(layer[..., 3] > OPAQUE)
    top = round(place.row - cutout.box[1] * place.scale)
    left = round(place.column - (cutout.box[2] + cutout.box[3]) / 2 * place.scale)
    over = np.zeros((height, width, 4), np.float32)
    rows, columns = _overlap(top, layer.shape[0], height), _overlap(left, layer.shape[1], width)
    over[rows, columns] = layer[_moved(rows, top), _moved(columns, left)]
    if place.z is not None:
        over[scene.valid & (scene.depth < place.z)] = 0
    alpha = over[..., 3:]
    image = np.rint(over[..., :3] * 255 + (1 - alpha) * scene.picture).clip(0, 255).astype(np.uint8)
    mask = alpha[..., 0] > OPAQUE
    depth = np.where(mask, np.float32(place.z or 0), scene.depth)
    valid = scene.valid | mask if place.z is not None else scene.valid
    return Composed(image, mask.astype(np.uint8), depth, valid, float(mask.sum() / whole) if whole else 0.0)


def _resized(layer: Float[np.ndarray, "_ _ 4"], scale: float) -> Float[np.ndarray, "_ _ 4"]:
    """Resize by area averaging if it shrinks, linearly if it grows."""
    size = (max(1, round(layer.shape[1] * scale)), max(1, round(layer.shape[0] * scale)))
    return cv2.resize(layer, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def _overlap(start: int, length: int, frame: int) -> slice:
    """Return the part of the frame covered by `length` pixels that begin at `start`."""
    first = min(max(start, 0), frame)
    return slice(first, min(max(start + length, first), frame))


def _moved(frame: slice, start: int) -> slice:
    return slice(frame.start - start, frame.stop - start)


TRIES = 40
LEAST_COVERED = 0.01
"""Least share of the picture that the mask must cover."""
LEAST_SEEN = 0.3
"""Least share of the object that must be visible."""
EYE = (1.2, 1.6)
"""Range of camera heights in metres to draw from if no floor is found."""
TALL = (0.3, 0.75)
"""Range of object height relative to picture height to draw from if the scene has no depth."""


@dataclass(frozen=True)
class Stand:
    """Limits of an object in a scene with depth.

    Attributes:
        object_height: Least and greatest length of its longer side, in metres.
        distance: Least and greatest distance, in metres.
        step: Step of stored depth, in metres.
    """

    object_height: tuple[float, float]
    distance: tuple[float, float]
    step: float


def stand(
    scene: Scene, cutout: Cutout, camera: Camera, floor: Floor | None, limits: Stand, rng: np.random.Generator
) -> Composed | None:
    """Place an object on the floor of a scene with metric depth; None if no draw shows enough of it.

    At depth z an object of length H has f H / z pixels. The longer side of the cut-out is taken as its length, because
    some people sit or lie. The object may be partly outside of the frame.
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
    """Place an object in a scene without depth, entirely in the frame, like existing data sets of this kind."""
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
    composed = blend(scene, cutout, place)
    enough = composed.seen >= LEAST_SEEN and composed.mask.mean() >= LEAST_COVERED
    return composed if enough else None
