"""Predict a picture at its own resolution, in overlapping tiles of the network's size."""

from collections.abc import Sequence
from dataclasses import astuple
from itertools import product
from math import ceil

import numpy as np
from jaxtyping import Float32, UInt8

from dmx.deliver.ensemble import Maps, Networks


def tiled(
    networks: Networks,
    image: UInt8[np.ndarray, "H W 3"],
    background: UInt8[np.ndarray, "H W 3"] | None,
    size: tuple[int, int],
    batch: int,
) -> Maps:
    """Predict a picture without resizing it.

    Tiles overlap by about half. Where several cover a pixel, their values are averaged by weights that fall off
    linearly from the middle of a tile to its border, so that no seam is seen. A side shorter than a tile is one tile.

    Args:
        networks: The networks.
        image: The picture.
        background: The scene without the object, if the networks take it.
        size: Height and width of a tile.
        batch: Tiles that are predicted at once.
    """
    height, width = (min(side, most) for side, most in zip(image.shape, size, strict=False))
    places = [*product(starts(image.shape[0], height), starts(image.shape[1], width))]
    weight = np.outer(slope(height), slope(width))
    sums = np.zeros((4, *image.shape[:2]))
    weights = np.zeros(image.shape[:2])

    def cut(picture: np.ndarray, some: Sequence[tuple[int, int]]) -> list[np.ndarray]:
        return [picture[top : top + height, left : left + width] for top, left in some]

    for first in range(0, len(places), batch):
        some = places[first : first + batch]
        found = networks(cut(image, some), None if background is None else cut(background, some))
        for (top, left), maps in zip(some, found, strict=True):
            there = slice(top, top + height), slice(left, left + width)
            weights[there] += weight
            for total, plane in zip(sums, astuple(maps), strict=True):
                total[there] += weight * plane
    return Maps(*(sums / weights).astype(np.float32))


def starts(length: int, tile: int) -> list[int]:
    """The first pixel of each tile along a side: evenly spread, neighbours overlap by about half of a tile.

    >>> starts(10, 4), starts(4, 4)
    ([0, 2, 4, 6], [0])
    """
    steps = ceil((length - tile) / max(1, tile // 2))
    return [round(place) for place in np.linspace(0, length - tile, steps + 1).tolist()]


def slope(length: int) -> Float32[np.ndarray, "N"]:
    """The weights along a side of a tile: linear from its middle to its border, and above 0 there.

    >>> slope(4).tolist()
    [0.25, 0.75, 0.75, 0.25]
    """
    places = np.arange(length, dtype=np.float32) + 0.5
    weights: Float32[np.ndarray, "N"] = np.minimum(places, length - places) * np.float32(2 / length)
    return weights
