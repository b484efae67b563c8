"""The files of one picture's prediction."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from dmx.deliver.depth_files import SUFFIXES, DepthFormat, write_depth
from dmx.deliver.ensemble import Maps
from dmx.quartet import DepthSpec
from dmx.stored import replace_bytes, replacing
from dmx.tracking.panel import colours, nearness, scale, stack

Picture = UInt8[np.ndarray, "H W 3"]
Plane = Float32[np.ndarray, "H W"]
TINT = np.array([255, 64, 64], np.float32)
VIEW_SIDE = 1024
"""Longest side of the picture in a view, in pixels: a view is to be looked at, and has the picture three times."""


class Output:
    """Writes predictions into a folder, each file whole or not at all.

    Args:
        out: The folder.
        spec: What depth means.
        form: The form of depth.
        fov: Field of view along the shorter side in degrees, for point clouds.
        uncertainty: Whether to write the standard deviations.
    """

    def __init__(self, out: Path, spec: DepthSpec, form: DepthFormat, fov: float, uncertainty: bool) -> None:
        self._out, self._spec, self._form, self._fov, self._uncertainty = out, spec, form, fov, uncertainty

    def write(self, name: str, image: Picture, maps: Maps) -> dict[str, str]:
        """Write the files of a picture, at the picture's size.

        Returns:
            Their paths relative to the folder, by what they hold.
        """
        mask, depth = (sized(plane, image) for plane in (maps.mask, maps.depth))
        files = {"mask": f"mask/{name}.png", "depth": f"depth/{name}{SUFFIXES[self._form]}", "view": f"view/{name}.png"}
        self._picture(files["mask"], (mask * 255).round().astype(np.uint8))
        with self._file(files["depth"]) as part:
            write_depth(part, depth, self._form, self._spec.kind, image, self._fov)
        self._picture(files["view"], view(image, mask, depth, self._spec))
        if self._uncertainty:
            for what, plane in (("mask", maps.mask_spread), ("depth", maps.depth_spread)):
                files[f"{what}_uncertainty"] = f"uncertainty/{what}/{name}.npy"
                with self._file(files[f"{what}_uncertainty"]) as part, part.open("wb") as file:
                    np.save(file, sized(plane, image))
        return files

    @contextmanager
    def _file(self, name: str) -> Iterator[Path]:
        path = self._out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            yield part

    def _picture(self, name: str, pixels: np.ndarray) -> None:
        bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
        replace_bytes(self._out / name, cv2.imencode(".png", bgr)[1].tobytes())


def sized(plane: Float32[np.ndarray, "h w"], image: UInt8[np.ndarray, "H W 3"]) -> Float32[np.ndarray, "H W"]:
    """A plane at the size of the picture."""
    height, width = image.shape[:2]
    return cv2.resize(plane, (width, height)).astype(np.float32, copy=False)


def view(image: Picture, mask: Plane, depth: Plane, spec: DepthSpec) -> UInt8[np.ndarray, "height width 3"]:
    """Draw the picture, the mask over it, and the depth from near (red) to far (blue) with its scale, side by side.

    Colours reach from the 1st to the 99th percentile of depth; beyond they are those of the scale's ends. What is
    longer than `VIEW_SIDE` is shrunk to it.
    """
    longest = max(image.shape)
    if longest > VIEW_SIDE:
        height, width = (max(1, round(side * VIEW_SIDE / longest)) for side in image.shape[:2])
        image, mask, depth = (
            cv2.resize(one, (width, height), interpolation=cv2.INTER_AREA) for one in (image, mask, depth)
        )
    share = 0.6 * mask[..., None]
    tinted = (image * (1 - share) + TINT * share).round().astype(np.uint8)
    low, high = np.percentile(depth, (1, 99)).tolist()
    near = nearness(depth, low, max(high - low, 1e-6), spec)
    return stack([image, tinted, colours(near, np.isfinite(depth)), scale(len(image), low, high, spec)], axis=1)
