"""Composing one chunk of samples into the folder, in a process of its own; what is there already stays."""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from dmx.data.compose.blend import Composed, Scene
from dmx.data.compose.camera import Camera, Floor, camera_of, find_floor
from dmx.data.compose.placing import Stand, lay, stand
from dmx.data.compose.sources import Sources, read_cutout
from dmx.data.compose.storing import depth_step, put, stored_depth
from dmx.data.compose.task import Chunk, Combination, Recipe, Wanted, combination
from dmx.data.decoding import colour
from dmx.data.reading import check_sizes, read_depth
from dmx.data.resize import resize_known, resize_picture
from dmx.data.samples import Record
from dmx.data.writing import settle
from dmx.errors import DataError

NOTES = ".notes"
"""The folder in the unfinished set of what is done and of files that are being written."""
OTHERS = 50
"""Other pairs of background and cut-out that are tried where an object finds no place."""


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
        """The combination itself and, where that gives nothing, others of its part."""
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
            put(self.stage / paths[role], pixels, self.stage / NOTES)
        group = self.sources.backgrounds[background].group
        return Record(name, group, chosen.part, paths["image"], paths["mask"], paths.get("depth"), paths["background"])


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


def begin(sources: Sources, recipe: Recipe, wanted: Wanted, stage: Path) -> None:
    """Make a new process ready: it keeps a composer and uses one thread."""
    global _composer
    _composer = Composer(sources, recipe, wanted, stage)
    cv2.setNumThreads(1)


def write(chunk: Chunk) -> list[Record]:
    """Compose a chunk in a process that was made ready."""
    return _composer.write(chunk)
