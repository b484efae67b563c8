"""Write predicted mask and depth of pictures as files."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import UInt8

from dmx.data.planes import resize_picture
from dmx.deliver.ahead import ahead
from dmx.deliver.depth_files import FOV, DepthFormat
from dmx.deliver.ensemble import Maps, Networks
from dmx.deliver.manifest import FAILED, OK, Entry, Manifest
from dmx.deliver.outputs import Output
from dmx.deliver.sources import Backgrounds, Item, Source
from dmx.deliver.tiles import tiled
from dmx.errors import UserError
from dmx.experiment.initial_weights import sha256_of
from dmx.experiment.joined import check_members
from dmx.experiment.trained import best_weights, trained
from dmx.machine import cores, keeping_freed_memory
from dmx.models.calibrated import Calibrated
from dmx.tracking.home import Home
from dmx.training.device import is_out_of_memory

Picture = UInt8[np.ndarray, "_ _ 3"]
T = TypeVar("T")
BATCH, BATCH_CPU = 8, 2
"""Pictures in a batch; on a CPU, where larger ones gain nothing, of each core."""


@dataclass(frozen=True)
class Options:
    """How pictures are predicted, and what is written.

    Attributes:
        tile: Predict tiles of the network's size, rather than the picture resized to it.
        flip: Predict each picture's mirror image as well.
        depth_format: The form of depth.
        fov: Field of view along the shorter side in degrees, for point clouds.
        uncertainty: Write the standard deviations over networks and flips.
        calibration: The name of the first run's calibration, if depth is to be that of another camera.
    """

    tile: bool = False
    flip: bool = False
    depth_format: DepthFormat = "npy"
    fov: float = FOV
    uncertainty: bool = False
    calibration: str | None = None


@dataclass(frozen=True)
class Loaded:
    """A picture that was read, or why it could not be; `seen` is what the networks see, with its background."""

    item: Item
    batch: int
    image: Picture | None = None
    seen: tuple[Picture, Picture | None] | None = None
    why: str = ""


class Prediction:
    """The networks of a prediction, and its options.

    Args:
        home: The results folder.
        runs: One run, or the members of an ensemble.
        options: How pictures are predicted, and what is written.
        batch: Pictures, or tiles, that are predicted in one batch; None: `BATCH`, or `BATCH_CPU` on a CPU.

    Raises:
        UserError: There is no such run, the runs do not fit together, or the options do not fit them.
    """

    def __init__(self, home: Home, runs: Sequence[str], options: Options, batch: int | None = None) -> None:
        if options.uncertainty and len(runs) == 1 and not options.flip:
            raise UserError("uncertainty is the spread of several predictions; add --tta flip, or --with RUN.")
        if options.calibration is not None and len(runs) > 1:
            raise UserError("a calibration is of one run; leave out --with, or --calibration.")
        self.networks = [trained(home, run, options.calibration) for run in runs]
        self._weights = [sha256_of(best_weights(home, run)) for run in runs]
        check_members(self.networks)
        first = self.networks[0]
        if options.depth_format == "ply" and first.spec.kind == "relative":
            raise UserError(
                f"a point cloud needs depth in metres, but that of {first.run} is relative; take another form."
            )
        self._on_cpu = first.device_config.device.type == "cpu"
        self.options, self.batch = options, batch or (BATCH_CPU if self._on_cpu and not options.tile else BATCH)
        self.size, self.spec = first.size, first.spec
        self.needs_background: bool = first.model.net.needs_background
        self._networks = Networks([one.model for one in self.networks], flip=options.flip)

    def facts(self, backgrounds: Path | None) -> dict[str, Any]:
        """The networks and settings, for the manifest: whatever changes what is written."""
        networks = [
            {"run": one.run, "sha256": digest} for one, digest in zip(self.networks, self._weights, strict=True)
        ]
        given = None if backgrounds is None else str(backgrounds)
        settings = {"size": [*self.size], "backgrounds": given, **asdict(self.options)}
        if isinstance(link := self.networks[0].model.link, Calibrated):
            settings["calibration"] = f"{self.options.calibration}: {link.scale} d^{link.power}"
        return {"networks": networks, "settings": settings}

    def workers(self, pictures: int) -> int:
        """How many batches to predict at once: one for each core of a CPU; for tiles one, as a picture has many."""
        several = self._on_cpu and not self.options.tile
        return max(1, min(cores(), -(-pictures // self.batch))) if several else 1

    def load(self, item: Item, batch: int, behind: Backgrounds | None) -> Loaded:
        """Read a picture and resize it for the networks."""
        try:
            image, background = item.read()
            if behind is not None and background is None:
                background = behind(item.name)
        except UserError as error:
            return Loaded(item, batch, why=str(error))
        given = [image, background] if self.needs_background and background is not None else [image]
        if not self.options.tile:
            given = [resize_picture(one, self.size) for one in given]
        elif background is not None and len(given) == 2:
            given[1] = resize_picture(background, (image.shape[0], image.shape[1]))
        return Loaded(item, batch, image, (given[0], given[1] if len(given) == 2 else None))

    def predict(self, loaded: Sequence[Loaded]) -> list[Maps]:
        """Predict those pictures that could be read, in one batch or each in its tiles.

        In a batch another picture stands in for one that could not be read: bits depend on a batch's size.

        Raises:
            UserError: Memory ran out.
        """
        readable = [one.seen for one in loaded if one.seen is not None]
        if not readable:
            return []
        try:
            if self.options.tile:
                return [tiled(self._networks, *one, self.size, self.batch) for one in readable]
            seen = [one.seen or readable[0] for one in loaded]
            backgrounds = [behind for _, behind in seen if behind is not None]
            found = self._networks([image for image, _ in seen], backgrounds or None)
            return [maps for maps, one in zip(found, loaded, strict=True) if one.seen is not None]
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                raise UserError(f"memory ran out in a batch of {self.batch}; give a smaller --batch.") from error
            raise


def check_backgrounds(run: str, wanted: bool, found: Sequence[Source], backgrounds: Backgrounds | None) -> None:
    """Check that backgrounds are known if, and only if, the network takes them.

    Raises:
        UserError: They are not.
    """
    lacking = [source for source in found if not source.knows_backgrounds]
    if wanted and lacking and backgrounds is None:
        raise UserError(f"{run} takes the scene without the object, too; give it with --backgrounds.")
    if backgrounds is None:
        return
    if not wanted:
        raise UserError(f"{run} looks at the picture alone; leave out --backgrounds.")
    if not lacking:
        raise UserError("the data set has the backgrounds itself; leave out --backgrounds.")
    backgrounds.check(lacking)


def predict(
    made: Prediction,
    found: Sequence[Source],
    backgrounds: Path | None,
    out: Path,
    progress: Callable[[int, int], None],
) -> tuple[int, list[Entry]]:
    """Write the prediction for every picture that `out` does not have yet.

    Pictures are read and files are written in threads, ahead of the networks and behind them. On a CPU as many batches
    are predicted at once as there are cores, each in one thread: threads that share an operation wait for each other,
    and longest where one of them has to read a picture meanwhile. Batches are the same whether or not some of their
    pictures are done already, so that a command that was stopped ends with the same bits.

    Args:
        made: The networks.
        found: Where the pictures come from.
        backgrounds: For networks that take a background: one for all pictures, or a folder with one of each picture's
            name.
        out: A folder that does not exist yet, or one that the same command has begun.
        progress: Called with (pictures done, pictures in total).

    Raises:
        UserError: Backgrounds are missing or not used, or `out` holds something else.

    Returns:
        The number of pictures that were done before, and what became of the others.
    """
    behind = None if backgrounds is None else Backgrounds(backgrounds)
    check_backgrounds(made.networks[0].run, made.needs_background, found, behind)
    entries: list[Entry] = []
    with Manifest(out, made.facts(backgrounds)) as manifest, keeping_freed_memory():
        before, total = set(manifest.done), sum(source.total for source in found)

        def waiting() -> Iterator[tuple[int, Item]]:
            """The pictures of the batches that are not done, with the number of their batch."""
            pictures = (item for source in found for item in source.items())
            for number, some in enumerate(batches(pictures, made.batch)):
                for item in some:
                    check_source(out, manifest.done.get(item.name), item)
                if not before.issuperset(item.name for item in some):
                    yield from ((number, item) for item in some)

        def predicted() -> Iterator[tuple[Loaded, Maps | None]]:
            loaded = ahead(waiting(), lambda one: made.load(one[1], one[0], behind), cores(), made.batch + cores())
            groups = ([*group] for _, group in groupby(loaded, key=lambda one: one.batch))
            workers = made.workers(total)
            with threads_for(workers):
                for some, found in ahead(groups, lambda some: (some, made.predict(some)), workers, workers):
                    maps = iter(found)
                    yield from ((one, next(maps) if one.seen is not None else None) for one in some)

        output = Output(out, made.spec, made.options.depth_format, made.options.fov, made.options.uncertainty)
        todo = (one for one in predicted() if one[0].item.name not in before)
        progress(len(before), total)
        for entry in ahead(todo, lambda one: written(output, *one), cores(), made.batch + cores()):
            manifest.add(entry)
            entries.append(entry)
            progress(len(before) + len(entries), total)
    return len(before), entries


@contextmanager
def threads_for(workers: int) -> Iterator[None]:
    """Within the context, torch shares its threads among so many workers."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before // workers))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def check_source(out: Path, before: Entry | None, item: Item) -> None:
    """Check that a picture that is done already is the one that is asked for.

    Raises:
        UserError: It is not.
    """
    if before is not None and before.source != str(item.source):
        raise UserError(
            f"{out}: has {item.name} of {before.source} already, not of {item.source}; choose another folder."
        )


def written(output: Output, loaded: Loaded, maps: Maps | None) -> Entry:
    """Write one picture's files, and say what became of it."""
    name, source = loaded.item.name, str(loaded.item.source)
    if loaded.image is None or maps is None:
        return Entry(name, source, FAILED, error=loaded.why)
    height, width = loaded.image.shape[:2]
    if not (np.isfinite(maps.depth).all() and np.isfinite(maps.mask).all()):
        why = f"{source}: what the network predicts is not finite."
        return Entry(name, source, FAILED, width, height, error=why)
    return Entry(name, source, OK, width, height, output.write(name, loaded.image, maps))


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of so many items; the last may have fewer."""
    rest = iter(items)
    while some := [*islice(rest, size)]:
        yield some
