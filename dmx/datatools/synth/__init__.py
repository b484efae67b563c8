"""Synthetic quartets: rooms ray-cast with and without an object, with exact metric depth, mask and background.

A room is a function of the seed and its number alone.
"""

import math
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, UInt8, UInt16

from dmx.data.declaration import FILE, Declaration, DepthDeclaration, read_declaration
from dmx.data.processes import in_processes
from dmx.data.samples import Record
from dmx.data.writing import Progress, Summary, staged, write_picture, write_samples
from dmx.datatools.synth.render import Placed, View, develop, place_object, render_object, render_room
from dmx.datatools.synth.scene import Scene, draw_scene
from dmx.errors import UserError
from dmx.machine import cores

NEAR, FAR = 0.3, 12.0
"""Declared range in metres; wider than in any room, and the same for all sets, so that they can be combined."""
DECLARED: dict[str, dict[str, Any]] = {
    "metric": {"kind": "metric", "scale": 0.001, "range": (NEAR, FAR), "unknown": (0,)},
    "relative": {"kind": "relative", "scale": 1 / 255, "range": (0.0, 1.0)},
}
ROOMS_TRIED = 50


def write_room(
    folder: Path, room: int, *, count: int, per_room: int, size: int, seed: int, kind: Literal["metric", "relative"]
) -> list[Record]:
    """Write the background of one room and those of `count` quartets that are in it; return their records in order."""
    scene, view, objects = draw_room(np.random.default_rng((seed, room)), min(per_room, count - room * per_room), size)
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
    """Draw a room with objects; if the objects do not fit, another room is drawn."""
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
    """Encode metres for storing: whole millimetres in 16 bit, or 0 to 255 from `NEAR` to `FAR`."""
    if kind == "metric":
        return np.asarray(np.rint(1000 * depth), np.uint16)
    return np.asarray(np.rint(255 * (depth - NEAR) / (FAR - NEAR)), np.uint8)


VERSION = 1
"""Incremented whenever the same parameters give other pictures."""
ROOMS_PER_WORKER = 8
"""A process takes half a second to start, as long as it takes to render as many rooms at 64x64."""


def synth(
    out: Path,
    *,
    count: int,
    size: int,
    seed: int,
    kind: Literal["metric", "relative"] = "metric",
    per_room: int = 4,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Write `count` quartets of `size` x `size` pixels into the new folder `out`.

    Depth is z along the optical axis. `metric` stores it as 16-bit PNG in millimetres, `relative` as 8-bit PNG, 0 at
    0.3 m and 255 at 12 m in every set. A room has one camera and one background, which the `per_room` quartets of its
    group share. The same parameters give the same bytes, whatever the number of workers. Where the same set is there
    already, nothing is done.

    Args:
        out: The folder to make.
        count: Quartets.
        size: Pixels along each side.
        seed: 0 is a seed like every other.
        kind: How depth is stored.
        per_room: Quartets a room.
        workers: Processes; None takes one per core where the work is worth it.
        progress: Called with how many quartets of how many are written.

    Raises:
        UserError: A number is too small.
        DataError: `out` is there already and is another set.
    """
    for name, value, least in (("count", count, 1), ("size", size, 8), ("per_room", per_room, 1), ("seed", seed, 0)):
        if value < least:
            raise UserError(f"`{name}` must be at least {least}, but got {value}; raise it.")
    source = f"dmx data synth: {count=} {size=} {seed=} {kind=} {per_room=} version={VERSION}"
    rooms = math.ceil(count / per_room)
    if (out / FILE).is_file() and read_declaration(out).source == source:
        return Summary(out, count, rooms, existed=True)
    processes = min(cores(), math.ceil(rooms / ROOMS_PER_WORKER)) if workers is None else workers
    records: list[Record] = []
    with staged(out) as stage:
        write = partial(write_room, stage, count=count, per_room=per_room, size=size, seed=seed, kind=kind)
        for found in in_processes(processes, write, range(rooms)) if processes > 1 else map(write, range(rooms)):
            records += found
            if progress is not None:
                progress(len(records), count)
        write_samples(stage, records)
        depth = DepthDeclaration(**DECLARED[kind])
        Declaration(name=f"synth-{kind}-{size}-{count}", depth=depth, source=source, license="CC0-1.0").write(stage)
    return Summary(out, count, rooms)
