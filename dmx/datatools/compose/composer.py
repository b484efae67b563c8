"""Composing a set, chunk by chunk in processes of their own; what an earlier, stopped command has made stays.

Every cut-out stands at so many places before every background, as it is and mirrored: 100 x 100 x 20 x 2 = 400,000. No
background and no cut-out serves two of train, val and test, so with these there are fewer combinations. Before scenes
with metric depth an object stands at a drawn distance: `placement.stand`. Before others it is laid: `placement.lay`.
"""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from dmx.data.declaration import FILE, Declaration, read_declaration
from dmx.data.decoding import colour
from dmx.data.layout import read
from dmx.data.processes import pool
from dmx.data.reading import check_sizes, read_depth
from dmx.data.resize import resize_known, resize_picture
from dmx.data.samples import FILE as SAMPLES
from dmx.data.samples import Record
from dmx.data.writing import Progress, Summary, resumable, settle, write_samples
from dmx.datatools.compose.depth import declared_depth, depth_step, model_identity, open_model, stored_depth
from dmx.datatools.compose.placement import Camera, Composed, Floor, Scene, Stand, camera_of, find_floor, lay, stand
from dmx.datatools.compose.plan import (
    Chunk,
    Combination,
    Recipe,
    Sources,
    Wanted,
    combination,
    plan_chunks,
    read_cutout,
)
from dmx.errors import DataError, UserError
from dmx.machine import cores
from dmx.stored import replacing

NOTES = ".notes"
"""The folder in the unfinished set of what is done and of files that are being written."""
OTHERS = 50
"""Other pairs of background and cut-out that are tried where an object finds no place."""
JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
PNG = [cv2.IMWRITE_PNG_COMPRESSION, 3]


class Composer:
    """Composes chunks of one set.

    Args:
        sources: Backgrounds and cut-outs.
        recipe: How they are combined.
        wanted: How many, which says what the numbers of a chunk stand for.
        stage: The folder to write into.
    """

    def __init__(self, sources: Sources, recipe: Recipe, wanted: Wanted, stage: Path) -> None:
        self.sources = sources
        self.recipe = recipe
        self.wanted = wanted
        self.stage = stage
        self.prepared = lru_cache(maxsize=8)(self._prepared)
        self.stand = Stand(recipe.object_height, recipe.distance, depth_step(sources, recipe))

    def write(self, chunk: Chunk) -> list[Record]:
        """Compose a chunk, unless it is noted that it is there, and it is.

        Pictures are not flushed to the disk, which would double the time (measured: 4 ms each), so that a loss of power
        may leave their names alone, without a byte: such ones are made again.

        Raises:
            DataError: A picture cannot be read, or no object finds a place.
        """
        note = self.stage / NOTES / f"{chunk.start:08d}.json"
        if note.exists():
            noted = [Record(**row) for row in json.loads(note.read_bytes())]
            if all(_filled(self.stage / path) for record in noted for path in record.paths().values()):
                return noted
        combined = (combination(self.sources, self.wanted, chunk.part, number) for number in chunk.numbers)
        records = [self._sample(chunk.start + i, one) for i, one in enumerate(combined)]
        scratch = note.with_suffix(f".{os.getpid()}.tmp")
        scratch.write_text(json.dumps([asdict(record) for record in records]), encoding="utf-8")
        settle(scratch, note)
        return records

    def _sample(self, number: int, chosen: Combination) -> Record:
        for rng, background, cutout in self._draws(chosen):
            scene, camera, floor = self.prepared(background)
            figure = read_cutout(self.sources.cutouts[cutout])
            figure = figure.mirrored() if chosen.flip else figure
            if self.sources.depth is None:
                composed = lay(scene, figure, rng)
            else:
                composed = stand(scene, figure, camera, floor, self.stand, rng)
            if composed is not None:
                return self._store(f"{number:07d}", chosen, background, composed)
        raise DataError(
            f"{self.sources.cutouts[chosen.cutout]}: neither it nor {OTHERS} others find a place where enough of "
            f"them is seen; widen `distance` {list(self.recipe.distance)} or `object_height` "
            f"{list(self.recipe.object_height)}."
        )

    def _draws(self, chosen: Combination) -> Iterator[tuple[np.random.Generator, int, int]]:
        """The combination itself and, where that finds no place, others of its part."""
        rng = chosen.random(self.recipe.seed)
        yield rng, chosen.background, chosen.cutout
        backgrounds, cutouts = self.sources.parts[chosen.part]
        for _ in range(OTHERS):
            yield rng, int(rng.choice(backgrounds)), int(rng.choice(cutouts))

    def _prepared(self, number: int) -> tuple[Scene, Camera, Floor | None]:
        """A background cut around its middle to the shape of the result, and resized; its camera and its floor."""
        one, size = self.sources.backgrounds[number], self.recipe.size
        picture = colour(one.image, upright=self.sources.upright)
        depth, valid = np.zeros(picture.shape[:2], np.float32), np.zeros(picture.shape[:2], bool)
        if one.depth is not None and self.sources.depth is not None:
            depth, valid = read_depth(one.depth, self.sources.depth, upright=self.sources.upright)
            check_sizes(one.depth.parent, one.image.name, {"image": picture.shape[:2], "depth": depth.shape})
        rows, columns = middle(picture.shape[0], picture.shape[1], size)
        crop = (rows.stop - rows.start, columns.stop - columns.start)
        known = resize_known(depth[rows, columns], valid[rows, columns], size)
        scene = Scene(resize_picture(picture[rows, columns], size), *known)
        camera = camera_of(size, crop, picture.shape[0], self.recipe.fov)
        return scene, camera, find_floor(scene.depth, scene.valid, camera)

    def _store(self, name: str, chosen: Combination, background: int, composed: Composed) -> Record:
        form = self.recipe.form
        paths = {
            "image": f"image/{name}.{form}",
            "mask": f"mask/{name}.png",
            "background": f"background/{background:06d}.{form}",
        }
        pictures = {"image": composed.image, "mask": composed.mask * np.uint8(255)}
        depth = stored_depth(composed, self.sources, self.recipe)
        if depth is not None:
            paths["depth"], pictures["depth"] = f"depth/{name}.png", depth
        if not _filled(self.stage / paths["background"]):
            pictures["background"] = self.prepared(background)[0].picture
        for role, pixels in pictures.items():
            _write_whole(self.stage / paths[role], pixels, self.stage / NOTES)
        group = self.sources.backgrounds[background].group
        return Record(name, group, chosen.part, paths["image"], paths["mask"], paths.get("depth"), paths["background"])


def _write_whole(path: Path, pixels: np.ndarray, scratch: Path) -> None:
    """Write a picture (grey or RGB, 8 or 16 bit) under another name in `scratch` and rename it.

    Raises:
        OSError: The disk refuses.
    """
    with replacing(path, scratch / f"{os.getpid()}-{path.parent.name}-{path.name}") as other:
        other.write_bytes(_encoded(path, pixels))


def _encoded(path: Path, pixels: np.ndarray) -> bytes:
    """A picture as PNG or JPEG, as the path says."""
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    done, data = cv2.imencode(path.suffix, bgr, JPEG if path.suffix == ".jpg" else PNG)
    if not done:
        raise DataError(f"{path}: a picture of {pixels.dtype}{list(pixels.shape)} cannot be encoded; choose a size.")
    return data.tobytes()


def _filled(path: Path) -> bool:
    """Whether the file is there and holds anything."""
    return path.exists() and path.stat().st_size > 0


def middle(height: int, width: int, size: tuple[int, int]) -> tuple[slice, slice]:
    """The rows and columns of the largest part around the middle that has the shape of `size` = (height, width)."""
    rows = min(height, max(1, round(width * size[0] / size[1])))
    columns = min(width, max(1, round(height * size[1] / size[0])))
    top, left = (height - rows) // 2, (width - columns) // 2
    return slice(top, top + rows), slice(left, left + columns)


_composer: Composer


def _begin(sources: Sources, recipe: Recipe, wanted: Wanted, stage: Path) -> None:
    """Make a new process ready: it keeps a composer and uses one thread."""
    global _composer
    _composer = Composer(sources, recipe, wanted, stage)
    cv2.setNumThreads(1)


def _write(chunk: Chunk) -> list[Record]:
    """Compose a chunk in a process that was made ready."""
    return _composer.write(chunk)


VERSION = 1
"""Raised whenever the same parameters give other pictures."""
ROLES = ("image", "mask", "depth", "background")


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
        progress: Called with how many quartets of how many are written.

    Raises:
        UserError: A number is out of its range, or more is wanted than there are combinations.
        DataError: A picture cannot be read, or `out` is there already and is another set.
    """
    _check(recipe, wanted)
    if recipe.depth_model is not None:
        open_model(recipe.depth_model)  # so that a wrong one is stated before anything is written
    stated = replace(recipe, depth_model=recipe.depth_model and model_identity(recipe.depth_model))
    total, jobs = plan_chunks(sources, wanted, recipe.seed)
    source = f"dmx data compose: {stated} {wanted} pictures={sources.fingerprint()} version={VERSION}"
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
    with pool(workers, _begin, *given) as executor:
        yield from executor.map(_write, jobs)


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
