"""Resize all pictures of a sample to one size.

Depth values do not change: resizing changes neither the camera nor the scene.
"""

from dataclasses import replace

import numpy as np

from dmx.data.planes import resize_known, resize_picture, resize_plane
from dmx.quartet import Quartet


def resize(quartet: Quartet, size: tuple[int, int]) -> Quartet:
    """Resize a quartet to `size` = (height, width); if it has that size already, its arrays are not copied."""
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
