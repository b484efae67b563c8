"""Depth of a composed set: estimate it with a model that the user names, if it was not measured, and encode it."""

import hashlib
import math
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8, UInt16

from dmx.data.declaration import DepthDeclaration
from dmx.datatools.compose.placement import Composed
from dmx.datatools.compose.plan import Recipe, Sources
from dmx.errors import DataError
from dmx.foreign import HUGGING_FACE, DepthPipeline, OnnxNetwork
from dmx.written import place

Estimate = Callable[[UInt8[np.ndarray, "H W 3"]], np.ndarray]
"""RGB picture -> array of any size and unit."""


@lru_cache(maxsize=1)
def open_model(name: str) -> Estimate:
    """Open a model on the CPU, with one thread, as every core composes in a process of its own; cached in each.

    Args:
        name: `hf:` and a folder or a name on the Hugging Face Hub, or the path of an `.onnx` file, which takes one RGB
            picture, normalised as ImageNet is or as bytes, and returns one plane first.

    Raises:
        UserError: The name has neither form, or the extra `depth` is not installed.
        DataError: The file cannot be read, or the model has other inputs or outputs.
    """
    if name.startswith(HUGGING_FACE):
        return DepthPipeline(name.removeprefix(HUGGING_FACE), threads=1)
    path = place(name)
    network = OnnxNetwork(path, threads=1)
    if network.needs_background:
        raise DataError(f"{path}: takes a background as well, and a composed image is estimated alone.")

    def estimate(picture: UInt8[np.ndarray, "H W 3"]) -> np.ndarray:
        return network(picture, None, network.outputs[:1])[0]

    return estimate


def relative_depth(estimate: Estimate, picture: UInt8[np.ndarray, "H W 3"]) -> Float[np.ndarray, "H W"]:
    """Estimate depth, scaled to [0, 1] by (d - min d) / (max d - min d), at the picture's size.

    Raises:
        DataError: The model does not return a plane, or its values are not finite or all equal.
    """
    found = np.squeeze(np.asarray(estimate(picture), np.float32))
    if found.ndim != 2 or not np.isfinite(found).all() or not found.min() < found.max():
        span = f" from {found.min():g} to {found.max():g}" if found.size else ""
        raise DataError(
            f"depth model: gives {list(found.shape)} numbers{span} where a plane of finite, different ones is needed; "
            "choose another model."
        )
    sized: np.ndarray = cv2.resize(found, (picture.shape[1], picture.shape[0]), interpolation=cv2.INTER_LINEAR)
    low, high = float(sized.min()), float(sized.max())
    return (sized - low) / max(high - low, 1e-30)


def model_identity(name: str) -> str:
    """Identify a model independently of its location: by name, and for a file by SHA-256."""
    if name.startswith(HUGGING_FACE):
        return HUGGING_FACE + Path(name.removeprefix(HUGGING_FACE)).name
    return f"{place(name).name} {hashlib.sha256(place(name).read_bytes()).hexdigest()}"


MILLIMETRE = 0.001
GREATEST = 65_000
"""Greatest raw value to use for depth."""


def depth_step(sources: Sources, recipe: Recipe) -> float:
    """Return the step of stored depth in metres: a millimetre, or more if the scenes are deeper than 65 m."""
    far = max(recipe.distance[1], sources.depth.range[1] if sources.depth is not None else 0.0)
    return max(MILLIMETRE, far / GREATEST)


def declared_depth(sources: Sources, recipe: Recipe) -> DepthDeclaration | None:
    """Return the depth declaration of the composed set; None if it has no depth."""
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
    """Encode depth for storing; None if there is none.

    Metric depth: raw = depth / step, 0 where unknown. Estimated depth: 0 to 65535 from the least to the greatest.
    """
    if recipe.depth_model is not None:
        relative = relative_depth(open_model(recipe.depth_model), composed.image)
        return np.asarray(np.rint(relative * 65535), np.uint16)
    if sources.depth is None:
        return None
    raw = np.rint(composed.depth / depth_step(sources, recipe)).clip(1, 65535)
    return np.where(composed.valid, raw, 0).astype(np.uint16)
