"""Depth of a composed set: estimate it with a model that the user names, if it was not measured, and encode it.

The model is an ONNX file (Open Neural Network Exchange) or a Hugging Face model with safetensors weights; neither runs
its author's code. A file of `torch.export` does: `torch.export.load` (2.15) calls `pickle.loads` and `torch.load`
without `weights_only`. So torch files are refused; they must be converted by `torch.onnx.export`.
"""

import hashlib
import importlib
import math
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8, UInt16

from dmx.data.declaration import DepthDeclaration
from dmx.data.resize import resize_picture
from dmx.datatools.compose.placement import Composed
from dmx.datatools.compose.plan import Recipe, Sources
from dmx.errors import DataError, UserError
from dmx.written import place

Estimate = Callable[[UInt8[np.ndarray, "H W 3"]], np.ndarray]
"""RGB picture -> array of any size and unit."""

MEAN = np.array((0.485, 0.456, 0.406), np.float32)
DEVIATION = np.array((0.229, 0.224, 0.225), np.float32)
"""ImageNet's standard deviation, as in the input normalisation of MiDaS, DPT and Depth Anything."""
PATCH = 224
"""Dynamic sides of an ONNX model are set to multiples of this, which suits patches of 14, 16 and 32 pixels."""
HUGGING_FACE = "hf:"


@lru_cache(maxsize=1)
def open_model(name: str) -> Estimate:
    """Open a model on the CPU, with one thread; cached in each process.

    Args:
        name: `hf:` and a folder or a name on the Hugging Face Hub, or the path of an `.onnx` file, which takes one RGB
            picture (1, 3, H, W), float32, normalised as ImageNet is, and returns one plane.

    Raises:
        UserError: The name has neither form, or the extra `depth` is not installed.
        DataError: The file cannot be read, or the model has other inputs or outputs.
    """
    if name.startswith(HUGGING_FACE):
        return _hugging_face(name.removeprefix(HUGGING_FACE))
    path = place(name)
    if path.suffix.lower() in (".pt", ".pt2", ".pth", ".bin", ".ckpt"):
        raise UserError(
            f"{path}: is a file of torch, which can run its author's code when it is loaded (torch.export unpickles); "
            "convert it by `torch.onnx.export` and name the .onnx file."
        )
    if path.suffix.lower() != ".onnx" or not path.is_file():
        raise UserError(
            f"{path}: is no model of depth; name an .onnx file that is there, or `hf:` and a folder or name of Hugging "
            "Face's."
        )
    return _onnx(path)


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


def _onnx(path: Path) -> Estimate:
    ort = _extra("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no public class
        raise DataError(f"{path}: cannot be read as ONNX ({error}); export it again.") from error
    shapes = [one.shape for one in session.get_inputs()]
    if len(shapes) != 1 or len(shapes[0]) != 4 or (isinstance(shapes[0][1], int) and shapes[0][1] != 3):
        raise DataError(f"{path}: takes {shapes} where one picture [1, 3, H, W] is needed; export it so.")
    given = session.get_inputs()[0]

    def estimate(picture: UInt8[np.ndarray, "H W 3"]) -> np.ndarray:
        sides = zip(given.shape[2:], picture.shape[:2], strict=True)
        height, width = (side if isinstance(side, int) else -(-own // PATCH) * PATCH for side, own in sides)
        sized = resize_picture(picture, (height, width)).astype(np.float32) / 255
        tensor = ((sized - MEAN) / DEVIATION).transpose(2, 0, 1)[None]
        return np.asarray(session.run(None, {given.name: np.ascontiguousarray(tensor)})[0])

    return estimate


def _hugging_face(name: str) -> Estimate:
    transformers = _extra("transformers")
    import torch
    from PIL import Image

    try:
        safe = {"use_safetensors": True}  # other weights are pickles
        pipe = transformers.pipeline("depth-estimation", model=name, device="cpu", model_kwargs=safe)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{HUGGING_FACE}{name}: cannot be opened ({error}); name a depth-estimation model.") from error

    def estimate(picture: UInt8[np.ndarray, "H W 3"]) -> np.ndarray:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # every core runs a process of its own
        try:
            return np.asarray(pipe(Image.fromarray(picture))["predicted_depth"])
        finally:
            torch.set_num_threads(threads)  # a training in the same process may follow

    return estimate


def _extra(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"`depth_model` needs {module}; install it by `pip install dmx[depth]`.") from error


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
