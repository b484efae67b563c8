"""Synthetic quartets: rooms ray-cast with and without an object, with exact metric depth, mask and background."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Literal

from dmx.data.declaration import FILE, Declaration, DepthDeclaration, read_declaration
from dmx.data.processes import pool
from dmx.data.samples import Record
from dmx.data.synth.room import DECLARED, write_room
from dmx.data.writing import Progress, Summary, staged, write_samples
from dmx.errors import UserError
from dmx.machine import cores

VERSION = 1
"""Raised whenever the same parameters give other pictures."""
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
        progress: Told how many quartets of how many are written.

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
    sizes = [min(per_room, count - room * per_room) for room in range(rooms)]
    processes = min(cores(), math.ceil(rooms / ROOMS_PER_WORKER)) if workers is None else workers
    records: list[Record] = []
    with staged(out) as stage:
        write = partial(write_room, stage, per_room=per_room, size=size, seed=seed, kind=kind)
        for found in _each(write, sizes, processes):
            records += found
            if progress is not None:
                progress(len(records), count)
        write_samples(stage, records)
        depth = DepthDeclaration(**DECLARED[kind])
        Declaration(name=f"synth-{kind}-{size}-{count}", depth=depth, source=source, license="CC0-1.0").write(stage)
    return Summary(out, count, rooms)


def _each(write: Callable[[int, int], list[Record]], sizes: list[int], processes: int) -> Iterator[list[Record]]:
    """Do every room, in order, here or in other processes."""
    if processes <= 1:
        yield from map(write, range(len(sizes)), sizes)
        return
    with pool(processes) as workers:
        yield from workers.map(write, range(len(sizes)), sizes, chunksize=4)
