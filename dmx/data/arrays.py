"""Read NPY files as planes of one value per pixel, whatever their axis order, byte order or memory layout."""

import io

import numpy as np

from dmx.data.headers import LARGEST

CHANNELS = (1, 3, 4)
"""Legal numbers of channels."""


def channel_axis(shape: tuple[int, ...]) -> int | None:
    """Find the channel axis of a picture's array.

    Where both the first and the last axis could hold channels, the choice that leaves both sides longer than 1 wins.

    >>> channel_axis((48, 64)), channel_axis((48, 64, 1)), channel_axis((1, 48, 64)), channel_axis((3, 48, 1))
    (None, -1, 0, -1)

    Returns:
        -1 for the last axis, 0 for the first, None where the array is two-dimensional.

    Raises:
        ValueError: The shape is not that of a picture, or is ambiguous.
    """
    if len(shape) == 2 and all(shape):
        return None
    if len(shape) != 3 or not all(shape):
        raise ValueError("is no picture")
    sides = {axis: side for axis, side in ((-1, shape[:2]), (0, shape[1:])) if shape[axis] in CHANNELS}
    broad = [axis for axis, side in sides.items() if min(side) > 1]
    found = broad if len(sides) > 1 else list(sides)
    if len(found) != 1:
        raise ValueError("may be read in two ways" if len(found) > 1 else "is no picture")
    return found[0]


def unbatched(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Drop leading axes of length 1 (a batch of one) until three axes are left.

    >>> unbatched((1, 1, 48, 64))
    (1, 48, 64)
    """
    while len(shape) > 3 and shape[0] == 1:
        shape = shape[1:]
    return shape


def array_header(file: io.BufferedReader | io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read the header of an NPY file; the file position is then at the first value.

    Returns:
        Shape, whether the values are in Fortran order, and dtype.

    Raises:
        ValueError: The header is damaged.
    """
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
    except Exception as error:  # NumPy parses the header as Python source, which raises many types of error
        raise ValueError("is no array") from error
    if not all(isinstance(side, int) and not isinstance(side, bool) and side >= 0 for side in shape):
        raise ValueError("is no array")
    return shape, bool(fortran), dtype


def array(data: bytes) -> np.ndarray:
    """Decode an NPY file to (H, W) or (H, W, channels) in native byte order, which OpenCV requires.

    Raises:
        ValueError: The file is damaged (empty message), or its contents are unsuitable (the message says why).
    """
    file = io.BytesIO(data)
    try:
        shape, fortran, dtype = array_header(file)
    except ValueError:
        raise ValueError from None
    wanted = "where one number for each pixel is needed; save it as (height, width)"
    if dtype.kind not in "buif":
        held = "objects" if dtype.hasobject else str(dtype)[:40]
        raise ValueError(f"holds {held} {wanted}")
    start, count = file.tell(), int(np.prod(shape, dtype=object))
    if count * dtype.itemsize > len(data) - start:
        raise ValueError
    values = np.frombuffer(data, dtype, count, start).reshape(shape, order="F" if fortran else "C")
    values = values.reshape(unbatched(shape))
    try:
        axis = channel_axis(values.shape)
    except ValueError as error:
        raise ValueError(f"holds {dtype}{list(shape)}, which {error}, {wanted}") from None
    values = values if axis is None else np.moveaxis(values, axis, -1)
    height, width = values.shape[:2]
    if height * width > LARGEST:
        raise ValueError(f"has {width}x{height} pixels, more than are read ({LARGEST}); make it smaller")
    if dtype.kind == "b":
        return values.view(np.uint8)
    return values.astype(np.float64 if dtype.itemsize > 8 else dtype.newbyteorder("="), copy=False)
