"""Decode one file to an array of its raw values, or raise an error that says what is wrong with the file."""

import io
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from jaxtyping import UInt8

from dmx.data import arrays, exr
from dmx.data.formats import by_content, refusal
from dmx.data.headers import LARGEST, Header, header, turned
from dmx.errors import DataError

LARGEST_FILE = 2**29
"""Largest file in bytes; files are read whole into memory."""

Role = Literal["mask", "depth"]


@dataclass(frozen=True)
class Decoded:
    """Raw values, and how they were stored.

    Attributes:
        pixels: The values.
        orientation: The EXIF orientation, 1 to 8, that was not applied; 1: nothing is left to apply.
        bits: Bits of each value in a PNG or JPEG.
        palette: Whether the values are palette indices.
    """

    pixels: np.ndarray
    orientation: int = 1
    bits: int = 8
    palette: bool = False


def colour(path: Path, *, upright: bool = False) -> UInt8[np.ndarray, "H W 3"]:
    """Return the pixels of `photograph`."""
    return photograph(path, upright=upright).pixels


def photograph(path: Path, *, upright: bool = False) -> Decoded:
    """Decode a PNG or JPEG as RGB, 8 bits a channel.

    Args:
        path: The file.
        upright: Whether to apply the EXIF orientation.

    Raises:
        DataError: The file is missing, damaged, too large or of another format.
    """
    data = contents(path)
    return _followed(*_picture(path, data, "image", cv2.IMREAD_COLOR_RGB), upright)


def unchanged(path: Path) -> np.ndarray:
    """Decode a PNG or JPEG with all its channels, in OpenCV's order (blue first).

    Raises:
        DataError: The file is missing, damaged, too large or of another format.
    """
    return _picture(path, contents(path), "image", cv2.IMREAD_UNCHANGED)[0]


def plane(
    path: Path,
    role: Role,
    *,
    channel: str | None = None,
    alpha: bool = False,
    indices: bool = False,
    upright: bool = False,
) -> Decoded:
    """Decode one channel (H, W) of raw values from PNG, JPEG (8 or 16 bit), NPY or EXR; three equal channels are one.

    A mask in a grey PNG of 1, 2 or 4 bits gets the stored numbers, which OpenCV would scale to 0 to 255.

    Args:
        path: The file.
        role: The role of the picture; selects the EXR channel and is named in messages.
        channel: The channel of an EXR picture to read; None finds it by its name.
        alpha: Whether to read the fourth channel.
        indices: Whether to read the indices (class numbers) of a palette PNG rather than its colours.
        upright: Whether to apply the EXIF orientation.

    Raises:
        DataError: The file is missing, damaged, too large, of another format, or lacks the requested channel.
    """
    data = contents(path)
    found = by_content(data)
    said: Header | None = None
    try:
        if found is not None and found.name == "NPY":
            pixels = arrays.array(data)
        elif found is not None and found.name == "EXR":
            pixels = exr.exr(path, role, channel)
        elif indices and found is not None and found.name == "PNG":
            pixels, said = _indices(path, data, role)
        else:
            pixels, said = _picture(path, data, role, cv2.IMREAD_UNCHANGED)
    except ValueError as error:
        raise (DataError(f"{path}: {error}.") if str(error) else damaged(path, len(data))) from error
    pixels = _one_value(path, pixels, role, alpha, said)
    if said is not None and said.bits < 8 and not said.palette and not alpha:
        if role == "depth":
            raise DataError(f"{path}: is grey of {said.bits} bits, too coarse for depth; {FEW_BITS}.")
        pixels = pixels // np.uint8(255 // (2**said.bits - 1))
    return _followed(pixels, said, upright)


def contents(path: Path) -> bytes:
    """Read a whole file.

    Raises:
        DataError: It cannot be read, is not a regular file, or is too large to be a picture.
    """
    try:
        there = path.stat()
        if not (stat.S_ISREG(there.st_mode) or stat.S_ISDIR(there.st_mode)):  # reading a pipe could block for ever
            raise OSError(0, "it is a pipe or a device")
        if there.st_size > LARGEST_FILE:
            raise OSError(0, f"it has {there.st_size} bytes, more than {LARGEST_FILE}")
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DataError(f"{path}: cannot be read ({reason}); put the picture there or leave it out.") from error


def damaged(path: Path, size: int) -> DataError:
    """Make the error for a truncated or damaged file."""
    return DataError(f"{path}: is truncated or damaged ({size} bytes); restore the picture or leave it out.")


def _followed(pixels: np.ndarray, said: Header | None, upright: bool) -> Decoded:
    """Apply the EXIF orientation if `upright`; otherwise record it in the result."""
    if said is None:
        return Decoded(pixels)
    if upright and said.orientation != 1:
        return Decoded(turned(pixels, said.orientation), 1, said.bits, said.palette)
    return Decoded(pixels, said.orientation, said.bits, said.palette)


def _whole(path: Path, data: bytes, role: str) -> Header:
    """Check that a PNG or JPEG is whole, not too large and not animated, and return its header."""
    found = by_content(data)
    if not data:
        raise damaged(path, 0)
    if found is None or not found.photographs:
        raise DataError(f"{path}: {refusal(found, role)}; or leave it out.")
    said = header(data)
    if said is None:
        raise damaged(path, len(data))
    if said.too_large:
        raise DataError(
            f"{path}: has {said.width}x{said.height} pixels in {said.channels} channels, more than is read "
            f"({LARGEST} pixels, {6 * LARGEST} bytes); make it smaller or leave it out."
        )
    if said.frames > 1:
        raise DataError(f"{path}: is animated ({said.frames} frames); save one picture or leave it out.")
    return said


def _picture(path: Path, data: bytes, role: str, flags: int) -> tuple[np.ndarray, Header]:
    """Check and decode a PNG or JPEG; OpenCV alone would silently fill the rest of a truncated JPEG with grey."""
    said = _whole(path, data, role)
    if flags != cv2.IMREAD_UNCHANGED:  # which never applies EXIF
        flags |= cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise damaged(path, len(data)) from error
    if pixels is None or pixels.shape[:2] != (said.height, said.width):
        raise damaged(path, len(data))
    return pixels, said


def _indices(path: Path, data: bytes, role: str) -> tuple[np.ndarray, Header]:
    """Decode a PNG to its palette indices (class numbers), which OpenCV always replaces by the colours."""
    from PIL import Image

    said = _whole(path, data, role)
    if not said.palette:
        return _picture(path, data, role, cv2.IMREAD_UNCHANGED)
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
            return np.array(picture), said
    except Exception as error:  # Pillow raises many types of error for damaged files
        raise damaged(path, len(data)) from error


def _one_value(path: Path, pixels: np.ndarray, role: Role, alpha: bool, said: Header | None) -> np.ndarray:
    """Return the one channel that holds the values.

    Raises:
        DataError: The picture has different channels, or an opacity that differs from its values.
    """
    if alpha:
        if pixels.ndim != 3 or pixels.shape[2] != 4:
            raise DataError(f"{path}: has no opacity (fourth channel); mend `mask.alpha` in dataset.yaml.")
        return pixels[..., 3]
    if pixels.ndim == 2:
        return pixels
    values, others = np.broadcast_arrays(pixels[..., :1], pixels[..., 1:3])
    if not np.array_equal(values, others, equal_nan=pixels.dtype.kind == "f"):
        raise DataError(f"{path}: has colours where one value per pixel is needed; {_coloured(role, said)}.")
    first = pixels[..., 0]
    opacity = pixels[..., -1] if pixels.shape[2] == 4 else first
    if (opacity != opacity[0, 0]).any() and not np.array_equal(first > 0, opacity > 0):
        raise DataError(f"{path}: has values and an opacity that differs from them; {TRANSPARENT[role]}.")
    return first


TRANSPARENT = {
    "mask": "say `mask.alpha: true` in dataset.yaml where the opacity is the mask, else save it without",
    "depth": "save the depth without it, with a value for what is unknown where it is transparent",
}


FEW_BITS = "nobody can tell whether its white is 255 or the greatest number it can store; save it with 8 or 16 bits"


def _coloured(role: Role, said: Header | None) -> str:
    """Return the advice for coloured pictures; averaging the channels would rarely give the intended values."""
    if role == "depth":
        return (
            "where they hold one number in three bytes (as CARLA does), put it together, where they are a colour map, "
            "take the numbers that it was drawn from, and save those as NPY, EXR or 16-bit PNG: a grey copy of colours "
            "is no depth"
        )
    if said is not None and said.palette:
        return (
            "it is a PNG with a palette: say which of its indices are the object, `mask: {labels: [1]}` in "
            "dataset.yaml for one with two colours"
        )
    return "save it as a grey picture, 0 beside the object and 255 on it"
