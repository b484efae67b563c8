"""Compose a set chunk by chunk in parallel processes, resuming after an interruption.

Every cut-out is placed several times before every background, as it is and mirrored: 100 x 100 x 20 x 2 = 400,000. No
background or cut-out is used in two of train, val and test, so with these parts there are fewer combinations. In scenes
with metric depth an object is placed at a drawn distance (`placement.stand`), in others by its size in the picture
(`placement.lay`).
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
from dmx.data.planes import resize_known, resize_picture
from dmx.data.processes import in_processes
from dmx.data.reading import check_sizes, read_depth
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
"""Folder in the unfinished set for notes on finished chunks, and for files in progress."""
OTHERS = 50
"""Number of other pairs of background and cut-out to try if an object cannot be placed."""
JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
PNG = [cv2.IMWRITE_PNG_COMPRESSION, 3]


class Composer:
    """Composes chunks of one set.

    Args:
        sources: Backgrounds and cut-outs.
        recipe: How they are combined.
        wanted: Number of samples and combinations, which defines the numbering of combinations.
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
        """Compose a chunk, unless it is noted as finished and its files exist.

        Pictures are not fsynced, which would double the time (measured: 4 ms each). A power failure may therefore leave
        empty files; their chunks are composed again.

        Raises:
            DataError: A picture cannot be read, or no object can be placed.
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
        """Yield the combination and, for when it cannot be placed, others of its part."""
        rng = chosen.random(self.recipe.seed)
        yield rng, chosen.background, chosen.cutout
        backgrounds, cutouts = self.sources.parts[chosen.part]
        for _ in range(OTHERS):
            yield rng, int(rng.choice(backgrounds)), int(rng.choice(cutouts))

    def _prepared(self, number: int) -> tuple[Scene, Camera, Floor | None]:
        """Centre-crop a background to the output's aspect ratio and resize it; return it with its camera and floor."""
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
        OSError: Writing fails.
    """
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    done, data = cv2.imencode(path.suffix, bgr, JPEG if path.suffix == ".jpg" else PNG)
    if not done:
        raise DataError(f"{path}: a picture of {pixels.dtype}{list(pixels.shape)} cannot be encoded; choose a size.")
    with replacing(path, scratch / f"{os.getpid()}-{path.parent.name}-{path.name}") as other:
        other.write_bytes(data.tobytes())


def _filled(path: Path) -> bool:
    """Whether the file exists and is not empty."""
    return path.exists() and path.stat().st_size > 0


def middle(height: int, width: int, size: tuple[int, int]) -> tuple[slice, slice]:
    """Return rows and columns of the largest centre crop with the aspect ratio of `size` = (height, width)."""
    rows = min(height, max(1, round(width * size[0] / size[1])))
    columns = min(width, max(1, round(height * size[1] / size[0])))
    top, left = (height - rows) // 2, (width - columns) // 2
    return slice(top, top + rows), slice(left, left + columns)


_composer: Composer


def _begin(sources: Sources, recipe: Recipe, wanted: Wanted, stage: Path) -> None:
    """Initialise a worker process with a composer and a single OpenCV thread."""
    global _composer
    _composer = Composer(sources, recipe, wanted, stage)
    cv2.setNumThreads(1)


def _write(chunk: Chunk) -> list[Record]:
    """Compose a chunk in an initialised worker process."""
    return _composer.write(chunk)


VERSION = 1
"""Incremented whenever the same parameters give other pictures."""
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

    The same parameters and pictures give the same bytes, whatever the number of workers and of interruptions. If the
    same set exists already, nothing is done.

    Args:
        sources: Backgrounds and cut-outs.
        out: The folder to make.
        recipe: How they are combined.
        wanted: Number of samples and combinations.
        workers: Number of processes; None takes one per core where the work is worth it.
        progress: Called with (quartets written, quartets in total).

    Raises:
        UserError: A number is out of range, or more samples are requested than there are combinations.
        DataError: A picture cannot be read, or `out` exists already and is another set.
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
            given = (sources, recipe, wanted, stage)
            composed = (
                in_processes(processes, _write, jobs, _begin, *given)
                if processes > 1
                else map(Composer(*given).write, jobs)
            )
            for found in composed:
                records += found
                if progress is not None:
                    progress(len(records), total)
            _finish(stage, records, Declaration(name=out.name, depth=declared_depth(sources, recipe), source=source))
        shutil.rmtree(stage / NOTES, ignore_errors=True)
    return Summary(out, total, len(read(out).samples.distinct("group")))


def _finish(stage: Path, records: list[Record], declaration: Declaration) -> None:
    """Write the list of samples and, last, the declaration, whose presence marks the set as complete."""
    write_samples(stage / NOTES, records)
    settle(stage / NOTES / SAMPLES, stage / SAMPLES)
    if declaration.depth is None:
        (stage / "depth").rmdir()
    declaration.write(stage / NOTES)
    settle(stage / NOTES / FILE, stage / FILE)


def _check(recipe: Recipe, wanted: Wanted) -> None:
    """Check the parameters that do not depend on any file."""
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
