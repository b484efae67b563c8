"""One value per pixel from an array of NumPy, in whatever form it was saved."""

import io

import numpy as np

from dmx.data.headers import LARGEST

CHANNELS = (1, 3, 4)
"""How many values a pixel may have."""


def channel_axis(shape: tuple[int, ...]) -> int | None:
    """Which axis of a picture's array holds its channels: None has none, -1 is the last, 0 the first.

    Of two readings that one counts whose picture has two sides longer than 1.

    >>> channel_axis((48, 64)), channel_axis((48, 64, 1)), channel_axis((1, 48, 64)), channel_axis((3, 48, 1))
    (None, -1, 0, -1)

    Raises:
        ValueError: It is no picture, or may be one in two ways.
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
    """Without the ones in front of a tensor's three axes: a batch of one.

    >>> unbatched((1, 1, 48, 64))
    (1, 48, 64)
    """
    while len(shape) > 3 and shape[0] == 1:
        shape = shape[1:]
    return shape


def array_header(file: io.BufferedReader | io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether it is in Fortran's order, and type of the values in an NPY file, whose values then follow.

    Raises:
        ValueError: It is damaged.
    """
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
    except Exception as error:  # Python's own parser reads it, and what that raises on nonsense is of many kinds
        raise ValueError("is no array") from error
    if not all(isinstance(side, int) and not isinstance(side, bool) and side >= 0 for side in shape):
        raise ValueError("is no array")
    return shape, bool(fortran), dtype


def array(data: bytes) -> np.ndarray:
    """The numbers in an NPY file, (H, W) or (H, W, channels), in this machine's order of bytes, which OpenCV takes.

    Raises:
        ValueError: The file is damaged; its text is empty then, else it says what is wrong with what it holds.
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
