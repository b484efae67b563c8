"""The pictures of a run's own data by which an exported file is compared, calibrated and measured."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from dmx.data.dataset import QuartetDataset
from dmx.deliver.export.compare import Sample
from dmx.deliver.exported import batch
from dmx.errors import UserError
from dmx.experiment.evaluate import Part, Selection, select
from dmx.experiment.external import evaluate_external
from dmx.experiment.trained import Trained
from dmx.foreign import Settings, open_network
from dmx.tracking.home import Home
from dmx.written import place

FEW = 8
"""Pictures that a file is compared on."""
CALIBRATION = 200
"""Training pictures from which int8 takes the ranges of activations."""
BATCH = 8
MEASURED = ("depth/rmse_pooled", "depth/abs_rel_pooled", "depth/delta1_pooled", "mask/iou_pooled")
"""The metrics that int8 is measured by."""


@dataclass(frozen=True)
class Samples:
    """Pictures of the run's own data.

    Attributes:
        network: The run's network.
        home: The folder of results.
        progress: Called with the number of pictures done and the total, while int8 is measured.
    """

    network: Trained
    home: Home
    progress: Callable[[int, int], None]

    def few(self) -> Sample:
        """The first validation pictures; where the data is gone, smooth random ones."""
        needs_background = self.network.model.net.needs_background
        try:
            chosen = self._chosen("val")
        except UserError:
            images, backgrounds = random_pictures(2 * FEW, self.network.size).reshape(2, FEW, *self.network.size, 3)
            return Sample([*images], [*backgrounds] if needs_background else None, f"{FEW} random pictures")
        opened = QuartetDataset(chosen.index, chosen.ids[:FEW], self.network.size, memory=False)
        quartets = [opened.original(number) for number in range(len(opened))]
        backgrounds = [one.background for one in quartets if one.background is not None]
        what = f"{len(quartets)} validation pictures of '{chosen.index.name}'"
        return Sample([one.image for one in quartets], backgrounds if needs_background else None, what)

    def calibration(self, size: tuple[int, int]) -> Iterator[dict[str, UInt8[np.ndarray, "B H W 3"]]]:
        """Batches of training pictures, spread evenly over the training part.

        Raises:
            UserError: The run's data is not there any more.
        """
        chosen = self._chosen("train")
        opened = QuartetDataset(chosen.index, spread(chosen.ids, CALIBRATION), size, memory=False)
        for start in range(0, len(opened), BATCH):
            quartets = [opened.original(number) for number in range(start, min(start + BATCH, len(opened)))]
            given = {"image": batch([one.image for one in quartets], size)}
            if self.network.model.net.needs_background:
                given["background"] = batch([one.background for one in quartets if one.background is not None], size)
            yield given

    def metrics(self, path: Path, size: tuple[int, int]) -> dict[str, float]:
        """The metrics of an ONNX file on the run's validation part.

        Raises:
            UserError: The run's data is not there any more.
        """
        found = evaluate_external(open_network(str(path), Settings()), self._chosen("val"), size, self.progress)
        values = {name: found.values.get(name) for name in MEASURED}
        return {name: value for name, value in values.items() if value is not None}

    def _chosen(self, part: Part) -> Selection:
        config = self.network.config
        chosen = select(place(config.data.root), part, self.home, self.network.run, config.data.split)
        if not chosen.own:
            raise UserError(
                f"{chosen.index.root}: is not what {self.network.run} was trained on any more; restore it, or export "
                "in another precision."
            )
        return chosen


def spread(ids: Sequence[str], most: int) -> tuple[str, ...]:
    """At most so many of the samples, evenly spread, the first and the last among them.

    >>> spread("abcdefg", 4)
    ('a', 'c', 'e', 'g')
    """
    places = np.linspace(0, len(ids) - 1, min(len(ids), most)).round().astype(int)
    return tuple(ids[place] for place in places)


def random_pictures(count: int, size: tuple[int, int]) -> UInt8[np.ndarray, "count H W 3"]:
    """Smooth random pictures."""
    coarse = torch.rand(count, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(coarse, size, mode="bicubic").clamp(0, 1)
    return (smooth * 255).round().byte().permute(0, 2, 3, 1).numpy()
