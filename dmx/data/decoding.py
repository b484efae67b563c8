"""From one file to an array of its raw values, or to a message that says what is wrong with the file."""

import io
import re
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from dmx.errors import DataError

ENDS = {b"\xff\xd8": b"\xff\xd9", b"\x89P": b"IEND\xaeB`\x82"}
"""How a whole JPEG and a whole PNG end, by how they begin."""
TAIL = 64
"""Bytes at the end among which that of a picture is looked for first."""
MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""What begins a segment of a JPEG, but for those that occur within its entropy-coded data."""
NPY, EXR = b"\x93NUMPY", b"\x76\x2f\x31\x01"
"""How an array of numpy and an OpenEXR picture begin."""


def colour(path: Path, *, upright: bool = False) -> UInt8[np.ndarray, "H W 3"]:
    """An RGB picture from PNG or JPEG, as its pixels are stored: masks and depth know nothing of EXIF's orientation.

    Args:
        path: The file.
        upright: Turned as EXIF says after all, for pictures that come without mask and depth.

    Raises:
        DataError: The file is not there, damaged, or of another format.
    """
    return _picture(path, _bytes(path), cv2.IMREAD_COLOR_RGB | (0 if upright else cv2.IMREAD_IGNORE_ORIENTATION))


def grey(path: Path, *, alpha: bool = False, indices: bool = False) -> np.ndarray:
    """Raw values (H, W) of one channel from PNG, JPEG (8 or 16 bit), NPY or EXR; three equal channels are one.

    Args:
        path: The file.
        alpha: Whether the fourth channel is asked for.
        indices: Whether of a PNG with a palette the indices are asked for, which number classes, not the colours.

    Raises:
        DataError: The file is not there, damaged, of another format, or has other channels than asked for.
    """
    data = _bytes(path)
    if data.startswith(NPY):
        pixels = _array(path, data)
    elif data.startswith(EXR):
        pixels = _exr(path)
    elif indices and data.startswith(b"\x89PNG") and data[25:26] == b"\x03":  # the kind of colour in its header
        pixels = _indices(path, data)
    else:
        pixels = _picture(path, data, cv2.IMREAD_UNCHANGED)
    if alpha:
        if pixels.ndim != 3 or pixels.shape[2] != 4:
            raise DataError(f"{path}: has no opacity (fourth channel); mend `mask.alpha` in dataset.yaml.")
        return pixels[..., 3]
    if pixels.ndim == 3:
        first, others = np.broadcast_arrays(pixels[..., :1], pixels[..., 1:3])
        if not np.array_equal(first, others, equal_nan=True):
            raise DataError(f"{path}: has colours where one value per pixel is needed; save it as a grey picture.")
        pixels = pixels[..., 0]
    return pixels


def has_end(data: bytes) -> bool:
    """Whether a PNG or JPEG goes on to its end, behind which cameras and telephones may write what they like."""
    end = ENDS[data[:2]]
    if end in data[-TAIL:]:
        return True
    return _jpeg_has_end(data) if data.startswith(b"\xff\xd8") else end in data


def _jpeg_has_end(data: bytes) -> bool:
    """Go through the segments by their lengths: a thumbnail in one of them has an end of its own."""
    at = 2
    while (found := MARKER.search(data, at)) is not None:
        if found[0] == b"\xff\xd9":
            return True
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2])
    return False


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); put the picture there or take its row out."
        ) from error


def _picture(path: Path, data: bytes, flags: int) -> np.ndarray:
    """Decode a whole PNG or JPEG; OpenCV fills what is missing of a truncated JPEG with grey and says nothing."""
    if data[:2] not in ENDS:
        raise DataError(f"{path}: is neither PNG nor JPEG; convert it or take its row out.")
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if has_end(data) else None
    if pixels is None:
        raise _damaged(path, len(data))
    return pixels


def _indices(path: Path, data: bytes) -> np.ndarray:
    """The indices of a PNG with a palette, for which OpenCV always puts the colours."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
            return np.array(picture)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _damaged(path, len(data)) from error


def _array(path: Path, data: bytes) -> np.ndarray:
    try:
        array: np.ndarray = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise _damaged(path, len(data)) from error
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or array.dtype.kind not in "uif":
        raise DataError(f"{path}: holds {array.dtype}{list(array.shape)} where numbers (height, width) are needed.")
    return array.astype(array.dtype.newbyteorder("="), copy=False)  # OpenCV takes all for this machine's order of bytes


def _exr(path: Path) -> np.ndarray:
    """The channel Z or Y of an EXR picture, else its only one or its colours together."""
    import OpenEXR

    try:
        with OpenEXR.File(str(path), separate_channels=True) as file:
            planes: dict[str, np.ndarray] = {name: channel.pixels.copy() for name, channel in file.channels().items()}
    except Exception as error:  # its one class of errors is not public
        raise _damaged(path, path.stat().st_size) from error
    chosen = next((name for name in ("Z", "Y") if name in planes), None)
    if chosen is not None:
        return planes[chosen]
    names = ["R", "G", "B"] if {"R", "G", "B"} <= planes.keys() else sorted(planes)[:1]
    return np.stack([planes[name] for name in names], axis=-1) if len(names) > 1 else planes[names[0]]


def _damaged(path: Path, size: int) -> DataError:
    return DataError(f"{path}: is truncated or damaged ({size} bytes); restore the picture or take its row out.")
