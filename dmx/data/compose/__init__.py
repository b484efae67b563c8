"""Quartets from backgrounds and cut-outs, the way the data sets of this problem are made, with metric depth if known.

Every cut-out stands at so many places before every background, as it is and mirrored: 100 x 100 x 20 x 2 = 400,000. No
background and no cut-out serves two of train, val and test, so with these there are fewer combinations. Before scenes
with metric depth an object stands at a drawn distance: `placing.stand`. Before others it is laid: `placing.lay`.
"""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from dmx.data.compose.estimate import identity, open_model
from dmx.data.compose.sources import Sources
from dmx.data.compose.storing import declared_depth
from dmx.data.compose.task import Chunk, Recipe, Wanted, chunks
from dmx.data.compose.work import NOTES, Composer, begin, write
from dmx.data.declaration import FILE, Declaration, read_declaration
from dmx.data.layout import read
from dmx.data.processes import pool
from dmx.data.samples import FILE as SAMPLES
from dmx.data.samples import Record
from dmx.data.writing import Progress, Summary, resumable, settle, write_samples
from dmx.errors import UserError
from dmx.machine import cores

VERSION = 1
"""Raised whenever the same parameters give other pictures."""
ROLES = ("image", "mask", "depth", "background")

__all__ = ["Recipe", "Wanted", "compose"]


def compose(
    sources: Sources,
    out: Path,
    recipe: Recipe,
    wanted: Wanted,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Compose quartets into the new folder `out`.

    The same parameters and pictures give the same bytes, whatever the number of workers and however often composing was
    stopped. Where the same set is there already, nothing is done.

    Args:
        sources: Backgrounds and cut-outs.
        out: The folder to make.
        recipe: How they are combined.
        wanted: How many.
        workers: Processes; None takes one for each core where the work is worth it.
        progress: Told how many quartets of how many are written.

    Raises:
        UserError: A number is out of its range, or more is wanted than there are combinations.
        DataError: A picture cannot be read, or `out` is there already and is another set.
    """
    _check(recipe, wanted)
    if recipe.depth_model is not None:
        open_model(recipe.depth_model)  # so that a wrong one is told before anything is written
    told = replace(recipe, depth_model=recipe.depth_model and identity(recipe.depth_model))
    total, jobs = chunks(sources, wanted, recipe.seed)
    source = f"dmx data compose: {told} {wanted} pictures={sources.fingerprint()} version={VERSION}"
    if (out / FILE).is_file() and read_declaration(out).source == source:
        return Summary(out, total, len(read(out).samples.distinct("group")), existed=True)
    processes = min(cores(), len(jobs)) if workers is None else workers
    with resumable(out, source) as stage:
        if not (stage / FILE).exists():
            for folder in (*ROLES, NOTES):
                (stage / folder).mkdir(exist_ok=True)
            records = []
            for found in _each((sources, recipe, wanted, stage), jobs, processes):
                records += found
                if progress is not None:
                    progress(len(records), total)
            _finish(stage, records, Declaration(name=out.name, depth=declared_depth(sources, recipe), source=source))
        shutil.rmtree(stage / NOTES, ignore_errors=True)
    return Summary(out, total, len(read(out).samples.distinct("group")))


def _each(given: tuple[Sources, Recipe, Wanted, Path], jobs: list[Chunk], workers: int) -> Iterator[list[Record]]:
    """Do every chunk, in order, here or in new processes."""
    if workers <= 1:
        yield from map(Composer(*given).write, jobs)
        return
    with pool(workers, begin, *given) as executor:
        yield from executor.map(write, jobs)


def _finish(stage: Path, records: list[Record], declaration: Declaration) -> None:
    """Write list and declaration, this one last: where it is, all is there."""
    write_samples(stage / NOTES, records)
    settle(stage / NOTES / SAMPLES, stage / SAMPLES)
    if declaration.depth is None:
        (stage / "depth").rmdir()
    declaration.write(stage / NOTES)
    settle(stage / NOTES / FILE, stage / FILE)


def _check(recipe: Recipe, wanted: Wanted) -> None:
    """Look at the numbers that no file decides."""
    for name, value, least in (("seed", recipe.seed, 0), ("places", wanted.places, 1), ("size", min(recipe.size), 8)):
        if value < least:
            raise UserError(f"`{name}` must be at least {least}, but got {value}; raise it.")
    if not 1 <= recipe.fov < 180:
        raise UserError(f"`fov` must be in [1, 180) degrees, but got {recipe.fov}; name the vertical field of view.")
    for name, (low, high) in (("object_height", recipe.object_height), ("distance", recipe.distance)):
        if not 0.01 <= low <= high:
            raise UserError(
                f"`{name}` must be two lengths in metres, at least 0.01 and the lesser first, but got {low} and {high}"
                "; mend them."
            )
