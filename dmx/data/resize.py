"""One size for all pictures of a sample.

Photographs are resized by area where they shrink and linearly where they grow. Mask, depth and where they are known
take the value of the nearest pixel, for a blend of 1 m and 5 m is a place where nothing is, and they take it at pixel
centres, as the area does (plain nearest would shift them by half a pixel). Depth keeps its values: resizing changes
neither the camera nor the scene.
"""

from dataclasses import replace

import cv2
import numpy as np
from jaxtyping import UInt8

from dmx.quartet import Quartet


def resize(quartet: Quartet, size: tuple[int, int]) -> Quartet:
    """The quartet at `size` = (height, width); the same arrays where it has that size already."""
    if quartet.mask.shape == size:
        return quartet
    background = quartet.background
    return replace(
        quartet,
        image=resize_picture(quartet.image, size),
        background=None if background is None else resize_picture(background, size),
        mask=resize_plane(quartet.mask, size),
        mask_valid=resize_plane(quartet.mask_valid.view(np.uint8), size).view(bool),
        depth=resize_plane(quartet.depth, size),
        valid=resize_plane(quartet.valid.view(np.uint8), size).view(bool),
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
    return cv2.resize(plane, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
