"""Read one value per pixel from an OpenEXR picture, which may have many channels, in layers and in parts.

The depth is the channel with a depth name (`Z`, `depth`, `ViewLayer.Depth.Z`, `Depth.V`), otherwise the only channel,
unless its name belongs to something else. A channel is never chosen because it is the first.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dmx.data.headers import LARGEST

DEPTH = frozenset({"z", "depth", "zdepth", "distance"})
"""Names of depth channels and layers, in lower case."""
OTHER = re.compile(
    r"a|n|p|ng|uv|ao|id|.*(alpha|opacity|mist|normal|position|pworld|vector|velocity|motion|index|shadow|occlusion|"
    r"albedo|crypto|mask|(object|material|render)id).*"
)
"""Names of other channels and layers, in lower case; neither their Z nor an only channel of them is depth."""
SHOWN = 12


def exr(path: Path, role: str, channel: str | None) -> np.ndarray:
    """Read a depth or mask channel (H, W), or the colours (H, W, 3 or 4), at the size of the display window.

    Pixels of the display window outside the data window are not stored: depth is NaN (unknown) there, a mask is 0.

    Args:
        path: The file.
        role: "depth" or "mask".
        channel: The channel to read; None finds it by its name.

    Raises:
        ValueError: The file is damaged (empty message), or its contents are unsuitable (the message says why).
    """
    import OpenEXR

    places = _places(path)
    names = _chosen(list(places), role, channel)
    try:
        with OpenEXR.File(os.fsencode(path), separate_channels=True) as file:
            planes = []
            for part, own in (places[name] for name in names):
                pixels = file.parts[part].channels[own].pixels
                planes.append(_placed(pixels, file.parts[part].header, role))
        return planes[0] if len(planes) == 1 else np.stack(planes, axis=-1)
    except Exception as error:  # OpenEXR's error class is not public
        raise ValueError from error


def display_size(path: Path) -> tuple[int, int]:
    """Return height and width of the display window.

    Raises:
        ValueError: The file is damaged.
    """
    return _size(_headers(path)[0]["displayWindow"])


def _headers(path: Path) -> list[dict[str, Any]]:
    """Read the header of each part, without pixels."""
    import OpenEXR

    try:
        with OpenEXR.File(os.fsencode(path), header_only=True) as file:
            headers = [dict(part.header) for part in file.parts]
            for one in headers:
                one["sizes"] = _size(one["dataWindow"]), _size(one["displayWindow"])
    except Exception as error:
        raise ValueError from error
    if not headers:
        raise ValueError
    return headers


def _size(window: Sequence[np.ndarray]) -> tuple[int, int]:
    (left, top), (right, bottom) = (corner.tolist() for corner in window)
    if right < left or bottom < top:
        raise ValueError
    return bottom - top + 1, right - left + 1


def _places(path: Path) -> dict[str, tuple[int, str]]:
    """Map each channel's full name to the number of its part and its name there."""
    found: dict[str, tuple[int, str]] = {}
    values = 0
    headers = _headers(path)
    for part, one in enumerate(headers):
        if one["type"].name.startswith("deep"):
            raise ValueError("holds deep data, several values for each pixel; flatten it")
        channels = one["channels"]
        if any((channel.xSampling, channel.ySampling) != (1, 1) for channel in channels):
            raise ValueError("holds channels of less than its size; save each in full")
        stored, (height, width) = one["sizes"]
        if max(height * width, stored[0] * stored[1]) > LARGEST:
            raise ValueError(f"has {width}x{height} pixels or more, more than are read ({LARGEST}); make it smaller")
        values += stored[0] * stored[1] * len(channels)
        layer = f"{one['name']}." if len(headers) > 1 else ""
        found |= {layer + channel.name: (part, channel.name) for channel in channels}
    if values > 2 * LARGEST:
        raise ValueError(f"holds {values} values, more than are read ({2 * LARGEST}); save one channel by itself")
    return dict(sorted(found.items()))


def _chosen(names: Sequence[str], role: str, channel: str | None) -> list[str]:
    """Choose the channel of the role, or its colour channels."""
    if channel is not None and channel in names:
        return [channel]
    pool = list(names)
    if role == "depth" and channel is None:
        pool = [name for name in names if _is_depth(name, names)] or _unnamed(names)
    if len(pool) == 1 and channel is None:
        return pool
    last = {_split(name)[1]: name for name in pool}
    if channel is None and len({_split(name)[0] for name in pool}) == 1 and len(last) == len(pool):
        if {"r", "g", "b"} <= last.keys() <= {"r", "g", "b", "a"}:
            return [last[one] for one in ("r", "g", "b", "a") if one in last]
        if last.keys() == {"y", "a"}:
            return [last[one] for one in ("y", "y", "y", "a")]
    listing = ", ".join(name[:60] for name in names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
    many = "several channels" if len(names) > 1 else "one channel"
    lacks = f"has no channel {channel}" if channel is not None else f"has {many}, and none is plainly meant"
    raise ValueError(f"{lacks} (there are {listing}); name the one to read as `{role}.channel` in dataset.yaml")


def _split(name: str) -> tuple[str, str]:
    """Split a full name into layer and channel, in lower case."""
    layer, _, last = name.lower().rpartition(".")
    return layer, last


def _is_other(name: str) -> bool:
    """Whether the name of a channel says that it is something other than depth."""
    return any(OTHER.fullmatch(one) for one in name.lower().split("."))


def _unnamed(names: Sequence[str]) -> list[str]:
    """Return the channels that may be depth without a depth name.

    These are all but the opacity of their layer; none if the picture also has other layers or names of other things.
    """
    found = [name for name in names if _split(name)[1] != "a"]
    layers = {_split(name)[0] for name in found}
    others = any(_is_other(name) for name in found) or any(_split(name)[0] not in layers for name in names)
    return [] if others else found


def _is_depth(name: str, names: Sequence[str]) -> bool:
    """Whether a channel has a depth name; the Z of a vector is not depth."""
    layer, last = _split(name)
    inner = layer.rpartition(".")[2]
    if last == "z" and inner not in DEPTH:
        beside = {_split(other)[1] for other in names if _split(other)[0] == layer}
        return not _is_other(name) and not {"x", "y"} & beside
    return last in DEPTH or (inner in DEPTH and last in ("v", "y", "r", "g", "b", "x"))


def _placed(pixels: np.ndarray, header: dict[str, Any], role: str) -> np.ndarray:
    """Copy the pixels of the data window into an array of the display window."""
    size = _size(header["displayWindow"])
    height, width = _size(header["dataWindow"])
    if pixels.shape != (height, width):
        raise ValueError
    across, down = (header["dataWindow"][0] - header["displayWindow"][0]).tolist()
    if (across, down, height, width) == (0, 0, *size):
        return pixels.copy()
    whole = np.zeros(size, pixels.dtype)
    if role == "depth":
        whole = np.full(size, np.nan, np.float64 if pixels.dtype.kind == "u" else pixels.dtype)
    inside = whole[max(0, down) : max(0, down + height), max(0, across) : max(0, across + width)]
    inside[:] = pixels[max(0, -down) :, max(0, -across) :][: inside.shape[0], : inside.shape[1]]
    return whole
