"""The forms in which depth is written."""

import math
import os
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

DepthFormat = Literal["npy", "png16", "exr", "ply"]
SUFFIXES: dict[DepthFormat, str] = {"npy": ".npy", "png16": ".png", "exr": ".exr", "ply": ".ply"}
FOV = 49.6
"""Field of view along the shorter side in degrees: that of NYU Depth V2, and of a lens of 26 mm on 35 mm film."""
POINT = np.dtype([*((name, "<f4") for name in ("x", "y", "z")), *((name, "u1") for name in ("red", "green", "blue"))])
"""A vertex of a PLY file, without padding."""


def write_depth(
    path: Path,
    depth: Float32[np.ndarray, "H W"],
    form: DepthFormat,
    kind: Literal["metric", "relative"],
    image: UInt8[np.ndarray, "H W 3"],
    fov: float,
) -> None:
    """Write a depth map.

    `npy` and `exr` (channel Z) hold float32 in the unit of the training data. `png16` holds millimetres of metric
    depth, and 65535 times relative depth, rounded; what is beyond is written as the end of the range: 65.535 m. `ply`
    is a point cloud, see `point_cloud`.

    Args:
        path: The file.
        depth: The depth.
        form: The form.
        kind: Metres, or relative depth in [0, 1].
        image: The picture, for the colours of `ply`.
        fov: Field of view along the shorter side in degrees, for `ply`.
    """
    match form:
        case "npy":
            with path.open("wb") as file:
                np.save(file, depth)
        case "png16":
            whole = np.clip(depth * (1000 if kind == "metric" else 65535), 0, 65535).round().astype(np.uint16)
            path.write_bytes(cv2.imencode(".png", whole)[1].tobytes())
        case "exr":
            write_exr(path, depth)
        case "ply":
            path.write_bytes(point_cloud(depth, image, fov))


def write_exr(path: Path, depth: Float32[np.ndarray, "H W"]) -> None:
    """Write depth as OpenEXR: float32, losslessly compressed, in the channel Z."""
    import OpenEXR

    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with OpenEXR.File(header, {"Z": OpenEXR.Channel(np.ascontiguousarray(depth))}) as file:
        file.write(os.fsencode(path))


def point_cloud(depth: Float32[np.ndarray, "H W"], image: UInt8[np.ndarray, "H W 3"], fov: float) -> bytes:
    """One coloured point for each pixel, as binary PLY, little-endian.

    The pixel in column u and row v, counted from 0, lies at z = depth, x = (u + 1/2 - W/2) z / f and
    y = (v + 1/2 - H/2) z / f, where f = min(H, W) / 2 / tan(fov / 2): x points to the right, y down, z away from the
    camera, in metres.

    Args:
        depth: Metric depth.
        image: The picture.
        fov: Field of view along the shorter side in degrees.
    """
    height, width = depth.shape
    focal = min(height, width) / 2 / math.tan(math.radians(fov) / 2)
    points = np.empty((height, width), POINT)
    points["x"] = (np.arange(width, dtype=np.float32) + 0.5 - width / 2) / focal * depth
    points["y"] = (np.arange(height, dtype=np.float32)[:, None] + 0.5 - height / 2) / focal * depth
    points["z"] = depth
    for place, name in enumerate(("red", "green", "blue")):
        points[name] = image[..., place]
    properties = [f"property float {name}" for name in "xyz"]
    properties += [f"property uchar {name}" for name in ("red", "green", "blue")]
    head = ["ply", "format binary_little_endian 1.0", f"element vertex {height * width}", *properties, "end_header", ""]
    return "\n".join(head).encode() + points.tobytes()
