"""Resize pictures and planes of values; no torch is needed.

Photographs are area-averaged where they shrink and interpolated linearly where they grow. Mask, depth and their
validity masks use nearest-neighbour, because a blend of 1 m and 5 m is a depth at which there is no surface. They are
sampled at pixel centres, as area averaging is; OpenCV's plain INTER_NEAREST would shift them by half a pixel. Where the
nearest depth is unknown, the nearest known one among the pixels whose centres lie in the new pixel is used; otherwise
hardly any of a LiDAR's sparse depth would be left.
"""

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

BITS = {1: np.uint8, 2: np.uint16, 4: np.int32, 8: np.float64}
"""A dtype that OpenCV can resize, by item size in bytes."""


def resize_picture(picture: UInt8[np.ndarray, "_ _ 3"], size: tuple[int, int]) -> UInt8[np.ndarray, "_ _ 3"]:
    """Resize a photograph to `size` = (height, width): first average along sides that shrink, then enlarge others."""
    height, width = size
    shrunk = min(height, picture.shape[0]), min(width, picture.shape[1])
    if shrunk != picture.shape[:2]:
        picture = cv2.resize(picture, shrunk[::-1], interpolation=cv2.INTER_AREA)
    if shrunk != size:
        picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)
    return picture


def resize_plane(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a plane of values that must not be blended to `size` = (height, width), by nearest-neighbour."""
    height, width = size
    bits = np.ascontiguousarray(plane).view(BITS[plane.dtype.itemsize])  # OpenCV supports few dtypes
    moved: np.ndarray = cv2.resize(bits, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return moved.view(plane.dtype)


def resize_known(
    plane: np.ndarray, known: Bool[np.ndarray, "H W"], size: tuple[int, int]
) -> tuple[np.ndarray, Bool[np.ndarray, "_ _"]]:
    """Resize a plane and its validity mask `known` to `size` = (height, width).

    A new pixel is known if any pixel whose centre lies in it is known; along a side that grows, if the nearest is.
    """
    shrunk = min(size[0], plane.shape[0]), min(size[1], plane.shape[1])
    moved, there = resize_plane(plane, shrunk), resize_plane(known, shrunk)
    if not there.all():
        _fill(moved, there, plane, known)
    if shrunk != size:
        moved, there = resize_plane(moved, size), resize_plane(there, size)
    return moved, there


def _fill(moved: np.ndarray, there: np.ndarray, plane: np.ndarray, known: np.ndarray) -> None:
    """Fill each unknown pixel of `moved` with the known value nearest to its centre among those that fall in it."""
    rows, columns = (
        (2 * np.arange(old) + 1) * new // (2 * old) for new, old in zip(moved.shape, plane.shape, strict=True)
    )
    ys, xs = np.nonzero(known & ~there[rows][:, columns])
    places = rows[ys] * moved.shape[1] + columns[xs]
    down, across = (old / new for old, new in zip(plane.shape, moved.shape, strict=True))
    apart = np.square(ys + 0.5 - (rows[ys] + 0.5) * down) + np.square(xs + 0.5 - (columns[xs] + 0.5) * across)
    nearest = np.lexsort((apart, places))
    nearest = nearest[np.flatnonzero(np.diff(places[nearest], prepend=-1))]  # the first for each place
    moved.flat[places[nearest]] = plane[ys[nearest], xs[nearest]]
    there.flat[places[nearest]] = True
