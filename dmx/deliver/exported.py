"""An exported network, run by ONNX Runtime: photographs in, mask and depth out. No torch is needed."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from dmx.data.planes import resize_picture
from dmx.errors import DataError, UserError
from dmx.foreign.onnx_file import session
from dmx.machine import cores

Pictures = Sequence[UInt8[np.ndarray, "_ _ 3"]]
Maps = tuple[Float32[np.ndarray, "_ _"], Float32[np.ndarray, "_ _"]]
"""Mask probability and depth of one picture."""
Run = Callable[[dict[str, np.ndarray]], tuple[np.ndarray, np.ndarray]]
"""From a batch for each input to depth and mask, (batch, height, width)."""
PREFIX = "dmx."
"""Each fact has a key of its own in the file's metadata, which begins with this; its value is JSON."""


@dataclass(frozen=True)
class Facts:
    """What the metadata of an exported file says of its network.

    Attributes:
        run: The run that trained it.
        version: The version of dmx that exported it.
        size: Height and width to which pictures are resized; those of the last training stage.
        dynamic: Whether the file takes any other height and width, too.
        multiple: Height and width are multiples of this.
        least: Height and width are at least this.
        inputs: The names of its inputs, `image` and perhaps `background`: uint8 RGB, (batch, height, width, 3).
        depth: Kind, low, high and near end of its depth, as in `dmx.quartet.DepthSpec`.
        unit: `m` for metres; empty for relative depth.
        mask_threshold: The probability from which on a pixel is the object's.
        mean: Of red, green and blue in [0, 1]; the graph subtracts it.
        deviation: Of red, green and blue; the graph divides by it.
        precision: `float32`, `float16` or `int8`.
        opset: The version of ONNX's operators.
        licence: Of its weights, as far as it is known.
        calibration: The name of the run's calibration for another camera; empty if it has its own scale.
        difference: From the run's own predictions: of `depth` and `mask` the `greatest` and `mean` difference, relative
            to max(1, value); of how many pictures, and of which; and for int8 the metrics before and after.
    """

    run: str
    version: str
    size: tuple[int, int]
    dynamic: bool
    multiple: int
    least: int
    inputs: tuple[str, ...]
    depth: Mapping[str, Any]
    unit: str
    mask_threshold: float
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    precision: str
    opset: int
    licence: str
    calibration: str = ""
    difference: Mapping[str, Any] = field(default_factory=dict)

    def metadata(self) -> dict[str, str]:
        """The facts as ONNX metadata."""
        return {f"{PREFIX}{name}": json.dumps(value) for name, value in asdict(self).items()}

    @classmethod
    def read(cls, metadata: Mapping[str, str], path: Path) -> "Facts":
        """The facts in ONNX metadata.

        Raises:
            DataError: They are not there, or damaged.
        """
        try:
            found = {one.name: json.loads(metadata[PREFIX + one.name]) for one in fields(cls)}
        except (KeyError, ValueError) as error:
            raise DataError(f"{path}: was not written by `dmx export` ({error}); export the run again.") from error
        for name in ("size", "inputs", "mean", "deviation"):
            found[name] = tuple(found[name])
        return cls(**found)


class ExportedNetwork:
    """A file of `dmx export`, on the CPU.

    Args:
        path: The file.
        threads: Threads of a prediction; all cores if it is None.

    Attributes:
        facts: What its metadata says.
        size: Height and width to which pictures are resized; where the file is dynamic, it may be set.
        threads: Threads of a prediction.

    Raises:
        UserError: There is no such file, or onnxruntime is not installed.
        DataError: It cannot be read, or is not of `dmx export`.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        self._session = session(path, threads or cores())
        self.path = path
        self.facts = Facts.read(self._session.get_modelmeta().custom_metadata_map, path)
        self.size = self.facts.size
        self.threads: int = self._session.get_session_options().intra_op_num_threads

    @property
    def needs_background(self) -> bool:
        """Whether it takes the background as well."""
        return "background" in self.facts.inputs

    def __call__(self, images: Pictures, backgrounds: Pictures | None) -> list[Maps]:
        """Predict each picture's mask probability and depth, at the picture's own size, in one batch.

        Args:
            images: RGB pictures of any size.
            backgrounds: The scenes without the object, if the network takes them.

        Raises:
            UserError: Backgrounds are missing or not used.
        """
        if (backgrounds is not None) != self.needs_background:
            raise UserError(
                f"{self.path} takes {'image and background' if self.needs_background else 'the image alone'}."
            )
        return at_own_size(self._run, self.size, images, backgrounds)

    def _run(self, given: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        depth, mask = self._session.run(["depth", "mask"], given)
        return depth, mask


def at_own_size(run: Run, size: tuple[int, int], images: Pictures, backgrounds: Pictures | None) -> list[Maps]:
    """The mask and depth of pictures at their own sizes, from a network that takes one batch of `size`."""
    given = {"image": batch(images, size)}
    if backgrounds is not None:
        given["background"] = batch(backgrounds, size)
    found = []
    for image, depth, mask in zip(images, *run(given), strict=True):
        sides = image.shape[1], image.shape[0]
        found.append((cv2.resize(mask, sides), cv2.resize(depth, sides)))
    return found


def batch(pictures: Pictures, size: tuple[int, int]) -> UInt8[np.ndarray, "B H W 3"]:
    """Pictures resized to `size` and stacked."""
    return np.stack([resize_picture(picture, size) for picture in pictures])
