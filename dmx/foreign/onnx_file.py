"""ONNX files that take a picture, and perhaps its background."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8

from dmx.data.planes import resize_picture
from dmx.errors import DataError, UserError
from dmx.foreign.extra import extra

Picture = UInt8[np.ndarray, "H W 3"]
Normalisation = Literal["imagenet", "half", "none"]
NORMALISATIONS: Mapping[Normalisation, tuple[Sequence[float], Sequence[float]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
"""Mean and standard deviation of pictures in [0, 1]. ImageNet's are those of MiDaS and Depth Anything."""
PATCH = 224
"""Free sides are set to multiples of this, which suits patches of 14, 16 and 32 pixels; not those of a file of dmx."""
Sides = tuple[int, int]
SIZE, RUN = "dmx.size", "dmx.run"
"""Keys of the metadata of a file of `dmx export`: the size that its network was trained at, and the run."""
TORCH = (".pt", ".pt2", ".pth", ".bin", ".ckpt")
"""Endings of torch's files."""
TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
BACKGROUND = "background"
"""Part of the name of an input for the background."""


@dataclass(frozen=True)
class Port:
    """An input that takes a picture.

    Attributes:
        name: Its name.
        sides: Height and width; a side that is not an integer is free.
        channels_last: Whether it is (1, H, W, 3) instead of (1, 3, H, W).
        dtype: uint8 for pictures in 0 to 255, float for normalised ones.
    """

    name: str
    sides: tuple[Any, Any]
    channels_last: bool
    dtype: Any

    @classmethod
    def of(cls, given: Any) -> "Port | None":
        """The port of an input of ONNX Runtime; None if it takes no picture."""
        shape, dtype = list(given.shape), TYPES.get(given.type)
        if dtype is None or len(shape) != 4 or (isinstance(shape[0], int) and shape[0] != 1):
            return None
        if shape[1] != 3 and shape[3] == 3:
            return cls(given.name, (shape[1], shape[2]), True, dtype)
        if isinstance(shape[1], int) and shape[1] != 3:
            return None
        return cls(given.name, (shape[2], shape[3]), False, dtype)

    def filled(self, picture: Picture, normalise: Normalisation, size: Sides | None) -> np.ndarray:
        """Resize and normalise a picture to what the input takes; free sides are those of `size`, if it is known."""
        free = size or [-(-own // PATCH) * PATCH for own in picture.shape[:2]]
        height, width = (side if isinstance(side, int) else own for side, own in zip(self.sides, free, strict=True))
        sized: np.ndarray = resize_picture(picture, (height, width))
        if self.dtype != np.uint8:
            mean, deviation = (np.array(one, np.float32) for one in NORMALISATIONS[normalise])
            sized = (sized.astype(np.float32) / 255 - mean) / deviation
        planes = sized if self.channels_last else sized.transpose(2, 0, 1)
        return np.ascontiguousarray(planes[None], self.dtype)


class OnnxNetwork:
    """An ONNX file on the CPU.

    Args:
        path: The file.
        threads: Threads of a prediction.
        normalise: How pictures in [0, 1] are normalised; an input of uint8 gets them as they are.

    Attributes:
        outputs: The names of its outputs.
        metadata: Its author's notes.
        size: Height and width that suit it, if it says so.

    Raises:
        UserError: There is no such file, it is torch's, or onnxruntime is not installed.
        DataError: It cannot be read, or takes something else than pictures.
    """

    def __init__(self, path: Path, *, threads: int, normalise: Normalisation = "imagenet") -> None:
        self._session = session(path, threads)
        self.path, self._normalise = path, normalise
        self._picture, self._background = ports(path, self._session.get_inputs())
        self.outputs = tuple(str(one.name) for one in self._session.get_outputs())
        self.metadata: Mapping[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        self.size = size_of(path, self.metadata)

    @property
    def needs_background(self) -> bool:
        """Whether it takes the background as well."""
        return self._background is not None

    @property
    def normalisation(self) -> Normalisation:
        """How its pictures are normalised."""
        return "none" if self._picture.dtype == np.uint8 else self._normalise

    def __call__(self, picture: Picture, background: Picture | None, wanted: Sequence[str]) -> list[np.ndarray]:
        """Predict these outputs for an RGB picture, of any size and unit.

        Raises:
            DataError: The network fails.
        """
        given = {self._picture.name: self._picture.filled(picture, self._normalise, self.size)}
        if self._background is not None:
            assert background is not None  # callers check `needs_background`
            given[self._background.name] = self._background.filled(background, self._normalise, self.size)
        try:
            return [np.asarray(one) for one in self._session.run(list(wanted), given)]
        except Exception as error:  # ONNX Runtime's errors share no public class
            shapes = [list(one.shape) for one in given.values()]
            raise DataError(f"{self.path}: fails on {shapes} ({error}); export it for one picture.") from error


def session(path: Path, threads: int) -> Any:
    """Open an ONNX file on the CPU.

    Raises:
        UserError: There is no such file, it is torch's, or onnxruntime is not installed.
        DataError: It cannot be read.
    """
    check_file(path)
    ort = extra("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no public class
        raise DataError(f"{path}: cannot be read as ONNX ({error}); export it again.") from error


def size_of(path: Path, metadata: Mapping[str, str]) -> Sides | None:
    """The size that a file of `dmx export` was trained at; None of any other file.

    Raises:
        DataError: What the file says is no size.
    """
    if SIZE not in metadata:
        return None
    try:
        height, width = json.loads(metadata[SIZE])
        return int(height), int(width)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: says '{metadata[SIZE]}' of its {SIZE}, which is no size; export it again.") from error


def check_file(path: Path) -> None:
    """Check that a path can be an ONNX file.

    Raises:
        UserError: It cannot.
    """
    if path.suffix.lower() in TORCH:
        raise UserError(
            f"{path}: is a file of torch, which can run its author's code when it is loaded (torch.export unpickles); "
            "convert it by `torch.onnx.export`, or export the run as ONNX, and name the .onnx file."
        )
    if path.suffix.lower() == ".onnx" and not path.is_file():
        raise UserError(f"{path}: is not there; name an .onnx file that is there.")
    if path.suffix.lower() != ".onnx":
        raise UserError(
            f"{path}: is no model of depth; name an .onnx file that is there, or `hf:` and a folder or name of Hugging "
            "Face's."
        )


def ports(path: Path, inputs: Sequence[Any]) -> tuple[Port, Port | None]:
    """The inputs for the picture and for its background, if it has one.

    Raises:
        DataError: It has others.
    """
    found = [port for one in inputs if (port := Port.of(one)) is not None]
    pictures = [port for port in found if BACKGROUND not in port.name.lower()]
    backgrounds = [port for port in found if BACKGROUND in port.name.lower()]
    if len(found) == len(inputs) == 1:
        return found[0], None
    if len(found) == len(inputs) == 2 and len(pictures) == 1:
        return pictures[0], backgrounds[0]
    shapes = ", ".join(f"{one.name} {list(one.shape)} {one.type}" for one in inputs)
    raise DataError(
        f"{path}: takes {shapes} where one picture [1, 3, H, W] is needed, or [1, H, W, 3], of float or uint8, and "
        f"perhaps a second with `{BACKGROUND}` in its name; export it so."
    )
