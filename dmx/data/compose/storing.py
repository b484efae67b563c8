"""How a composed set is stored: depth as numbers of 16 bit, and files that appear whole or not at all."""

import math
import os
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt16

from dmx.data.compose.blend import Composed
from dmx.data.compose.estimate import open_model, relative_depth
from dmx.data.compose.sources import Sources
from dmx.data.compose.task import Recipe
from dmx.data.declaration import DepthDeclaration
from dmx.errors import DataError

MILLIMETRE = 0.001
GREATEST = 65_000
"""Raw value that the farthest depth may have."""
JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
PNG = [cv2.IMWRITE_PNG_COMPRESSION, 3]


def depth_step(sources: Sources, recipe: Recipe) -> float:
    """Metres between two depths that can be stored: a millimetre, or more where the scenes are deeper than 65 m."""
    far = max(recipe.distance[1], sources.depth.range[1] if sources.depth is not None else 0.0)
    return max(MILLIMETRE, far / GREATEST)


def declared_depth(sources: Sources, recipe: Recipe) -> DepthDeclaration | None:
    """What the composed set says of its depth; None where it has none."""
    if recipe.depth_model is not None:
        return DepthDeclaration(kind="relative", scale=1 / 65535, range=(0.0, 1.0), near=recipe.near)
    if sources.depth is None:
        return None
    step = depth_step(sources, recipe)
    low = min(recipe.distance[0], sources.depth.range[0])
    high = max(recipe.distance[1], sources.depth.range[1])
    span = (round(max(1, math.floor(low / step)) * step, 6), round(math.ceil(high / step) * step, 6))
    return DepthDeclaration(kind="metric", scale=step, range=span, unknown=(0.0,))


def stored_depth(composed: Composed, sources: Sources, recipe: Recipe) -> UInt16[np.ndarray, "H W"] | None:
    """Depth as it is written; None where there is none.

    Metric: raw = depth / step, 0 where it is unknown. By a model: 0 to 65535 from the least to the greatest.
    """
    if recipe.depth_model is not None:
        relative = relative_depth(open_model(recipe.depth_model), composed.image)
        return np.asarray(np.rint(relative * 65535), np.uint16)
    if sources.depth is None:
        return None
    raw = np.rint(composed.depth / depth_step(sources, recipe)).clip(1, 65535)
    return np.where(composed.valid, raw, 0).astype(np.uint16)


def put(path: Path, pixels: np.ndarray, scratch: Path) -> None:
    """Write a picture (grey or RGB, 8 or 16 bit) under another name in `scratch` and rename it.

    Raises:
        OSError: The disk refuses.
    """
    other = scratch / f"{os.getpid()}-{path.parent.name}-{path.name}"
    other.write_bytes(encoded(path, pixels))
    other.replace(path)


def encoded(path: Path, pixels: np.ndarray) -> bytes:
    """A picture as PNG or JPEG, as the path says."""
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    done, data = cv2.imencode(path.suffix, bgr, JPEG if path.suffix == ".jpg" else PNG)
    if not done:
        raise DataError(f"{path}: a picture of {pixels.dtype}{list(pixels.shape)} cannot be encoded; choose a size.")
    return data.tobytes()
