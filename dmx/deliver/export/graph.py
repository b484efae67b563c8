"""The network as a graph from photographs to depth and mask, which is what an exported file holds."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor, nn

from dmx.deliver.exported import Run
from dmx.models.joint import DepthMaskModel
from dmx.quartet import Prediction

Maps = dict[str, Float32[Tensor, "B H W"]]
BATCH = 2
"""Samples of the traced example; with one, torch would take the batch for a constant."""


class PhotographToMaps(nn.Module):
    """From uint8 RGB to depth in the data set's unit and the mask's probability.

    Args:
        model: The network with its weights.
        dynamic: Whether height and width stay free. They then have to be multiples of the network's own, as padding
            would need to know them.
    """

    def __init__(self, model: DepthMaskModel, *, dynamic: bool) -> None:
        super().__init__()
        self.model = model
        self.dynamic = dynamic

    def forward(self, image: UInt8[Tensor, "B H W 3"], background: UInt8[Tensor, "B H W 3"] | None = None) -> Maps:
        """`depth` and `mask`."""
        picture, behind = in_unit_range(image), None if background is None else in_unit_range(background)
        found = self._whole(picture, behind) if self.dynamic else self.model(picture, behind)
        return {"depth": found.depth[:, 0], "mask": found.mask_logits.sigmoid()[:, 0]}

    def _whole(self, image: Tensor, background: Tensor | None) -> Prediction:
        """The model's prediction for pictures of a size that needs no padding."""
        model = self.model
        logits, depth = model.net(
            *(None if one is None else (one - model.mean) / model.std for one in (image, background))
        )
        return Prediction(logits.float(), model.link(depth.float()))


def in_unit_range(picture: UInt8[Tensor, "B H W 3"]) -> Float32[Tensor, "B 3 H W"]:
    """Bytes as numbers in [0, 1], channels first."""
    return picture.permute(0, 3, 1, 2).float() / 255


def example(model: DepthMaskModel, size: tuple[int, int]) -> tuple[UInt8[Tensor, "B H W 3"], ...]:
    """Pictures to trace the graph with: image, and background if the network takes it."""
    generator = torch.Generator().manual_seed(0)
    count = 2 if model.net.needs_background else 1
    shape = (BATCH, *size, 3)
    return tuple(torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8) for _ in range(count))


def free_sides(model: DepthMaskModel, *, dynamic: bool) -> tuple[dict[int, Any], ...]:
    """The free sides of each input for torch.export: the batch, and height and width if they are `dynamic`."""
    sides: dict[int, Any] = {0: torch.export.Dim("batch", min=1)}
    if dynamic:
        multiple = model.net.multiple
        for axis, name in ((1, "height"), (2, "width")):
            least = -(-model.net.least // multiple)
            blocks = torch.export.Dim(f"{name}_blocks" if multiple > 1 else name, min=max(least, 2))
            sides[axis] = multiple * blocks if multiple > 1 else blocks
    return (sides,) * (2 if model.net.needs_background else 1)


def as_run(graph: nn.Module) -> Run:
    """A graph as a function from a batch for each input to depth and mask."""

    def run(given: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        with torch.inference_mode():
            maps = graph(*(torch.from_numpy(one) for one in given.values()))
        return maps["depth"].numpy(), maps["mask"].numpy()

    return run


def of_archive(path: Path) -> Run:
    """The network of an archive that this command has written itself: torch.export.load unpickles, and can run code."""
    return as_run(torch.export.load(path).module())
