"""One room of a synthetic set: drawn, rendered and written, as a function of (seed, number of the room) alone."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, UInt8, UInt16

from dmx.data.samples import Record
from dmx.data.synth.render import Placed, View, develop, place_object, render_object, render_room
from dmx.data.synth.scene import Scene, draw_scene
from dmx.data.writing import write_picture

NEAR, FAR = 0.3, 12.0
"""Metres; wider than any room allows, and the same for all sets, so that they can be used together."""
DECLARED: dict[str, dict[str, Any]] = {
    "metric": {"kind": "metric", "scale": 0.001, "range": (NEAR, FAR), "unknown": (0,)},
    "relative": {"kind": "relative", "scale": 1 / 255, "range": (0.0, 1.0)},
}
ROOMS_TRIED = 50


def write_room(
    folder: Path, room: int, samples: int, *, per_room: int, size: int, seed: int, kind: Literal["metric", "relative"]
) -> list[Record]:
    """Write one room's background and its quartets; the records in order."""
    scene, view, objects = draw_room(np.random.default_rng((seed, room)), samples, size)
    background = f"background/room{room:05d}.png"
    write_picture(folder / background, develop(view.colour, size))
    records = []
    for number, placed in enumerate(objects, start=room * per_room):
        stem = f"{number:06d}"
        paths = {role: f"{role}/{stem}.png" for role in ("image", "mask", "depth")}
        write_picture(folder / paths["image"], develop(render_object(scene, view, placed, size), size))
        write_picture(folder / paths["mask"], np.where(placed.mask, 255, 0).astype(np.uint8).reshape(size, size))
        write_picture(folder / paths["depth"], stored(placed.depth.reshape(size, size), kind))
        records.append(Record(stem, f"room{room:05d}", None, **paths, background=background))
    return records


def draw_room(rng: np.random.Generator, samples: int, size: int) -> tuple[Scene, View, list[Placed]]:
    """A room and objects in it; a room in which they find no place is drawn anew."""
    for _ in range(ROOMS_TRIED):
        scene = draw_scene(rng)
        view = render_room(scene, size)
        objects = [placed for _ in range(samples) if (placed := place_object(scene, view, size, rng)) is not None]
        if len(objects) == samples:
            return scene, view, objects
    raise RuntimeError(f"no room out of {ROOMS_TRIED} had a place for {samples} objects at {size}x{size}")


def stored(
    depth: Float[np.ndarray, "H W"], kind: Literal["metric", "relative"]
) -> UInt8[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"]:
    """Metres as they are stored: whole millimetres in 16 bit, or 0 to 255 from `NEAR` to `FAR`."""
    if kind == "metric":
        return np.asarray(np.rint(1000 * depth), np.uint16)
    return np.asarray(np.rint(255 * (depth - NEAR) / (FAR - NEAR)), np.uint8)
