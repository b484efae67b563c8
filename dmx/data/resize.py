"""One size for all pictures of a sample.

Photographs are resized by area where they shrink and linearly where they grow. Mask, depth and where they are known
take the value of the nearest pixel, for a blend of 1 m and 5 m is a place where nothing is, and they take it at pixel
centres, as the area does (plain nearest would shift them by half a pixel). Depth keeps its values: resizing changes
neither the camera nor the scene. Where the nearest depth is unknown, the nearest known one among the pixels whose
centres lie in the new pixel stands for it: else of a LiDAR's sparse depth hardly any would be left.
"""

from dataclasses import replace

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from dmx.quartet import Quartet

BITS = {1: np.uint8, 2: np.uint16, 4: np.int32, 8: np.float64}
"""A type that OpenCV moves, by the bytes of a value."""


def resize(quartet: Quartet, size: tuple[int, int]) -> Quartet:
    """The quartet at `size` = (height, width); the same arrays where it has that size already."""
    if quartet.mask.shape == size:
        return quartet
    background = quartet.background
    depth, valid = resize_known(quartet.depth, quartet.valid, size)
    return replace(
        quartet,
        image=resize_picture(quartet.image, size),
        background=None if background is None else resize_picture(background, size),
        mask=resize_plane(quartet.mask, size),
        mask_valid=resize_plane(quartet.mask_valid.view(np.uint8), size).view(bool),
        depth=depth,
        valid=valid,
    )


def resize_picture(picture: UInt8[np.ndarray, "_ _ 3"], size: tuple[int, int]) -> UInt8[np.ndarray, "_ _ 3"]:
    """A photograph at `size` = (height, width): each side that shrinks is averaged, then the other grows."""
    height, width = size
    shrunk = min(height, picture.shape[0]), min(width, picture.shape[1])
    if shrunk != picture.shape[:2]:
        picture = cv2.resize(picture, shrunk[::-1], interpolation=cv2.INTER_AREA)
    if shrunk != size:
        picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)
    return picture


def resize_plane(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A plane of values that must not be blended at `size` = (height, width)."""
    height, width = size
    bits = np.ascontiguousarray(plane).view(BITS[plane.dtype.itemsize])  # OpenCV knows few types, and moves bits alone
    moved: np.ndarray = cv2.resize(bits, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return moved.view(plane.dtype)


def resize_known(
    plane: np.ndarray, known: Bool[np.ndarray, "H W"], size: tuple[int, int]
) -> tuple[np.ndarray, Bool[np.ndarray, "_ _"]]:
    """A plane of which only some values are known at `size` = (height, width), and where they are known then.

    A new pixel is known where any pixel whose centre lies in it is known; of a side that grows, where the nearest is.
    """
    shrunk = min(size[0], plane.shape[0]), min(size[1], plane.shape[1])
    moved, there = resize_plane(plane, shrunk), resize_plane(known, shrunk)
    if not there.all():
        _fill(moved, there, plane, known)
    if shrunk != size:
        moved, there = resize_plane(moved, size), resize_plane(there, size)
    return moved, there


def _fill(moved: np.ndarray, there: np.ndarray, plane: np.ndarray, known: np.ndarray) -> None:
    """Give each unknown pixel of `moved` the known value in it that is nearest to its centre, where there is one."""
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
