"""An ensemble's prediction of photographs as arrays."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor, nn

from dmx.models.ensemble import Ensemble

Planes = Float32[np.ndarray, "H W"]
Pictures = Sequence[UInt8[np.ndarray, "H W 3"]]


@dataclass(frozen=True)
class Maps:
    """One picture's prediction.

    Attributes:
        mask: The probability of the object.
        mask_spread: The standard deviation of the probability over members and flips.
        depth: The depth, in the unit of the training data.
        depth_spread: The standard deviation of the depth, in its unit.
    """

    mask: Planes
    mask_spread: Planes
    depth: Planes
    depth_spread: Planes


class Networks:
    """Networks of photographs.

    Args:
        models: `DepthMaskModel`s with their weights; that of the first decides on the device.
        flip: Whether to predict each picture's mirror image as well, turned back.
    """

    def __init__(self, models: Sequence[nn.Module], *, flip: bool = False) -> None:
        self._device = next(models[0].parameters()).device
        self._ensemble = Ensemble([model.eval().to(self._device) for model in models], flip=flip)

    def __call__(self, images: Pictures, backgrounds: Pictures | None) -> list[Maps]:
        """Predict pictures of one size, in one batch.

        Args:
            images: RGB pictures.
            backgrounds: The scenes without the object, if the networks take them.
        """
        with torch.inference_mode():
            found = self._ensemble(self._tensor(images), None if backgrounds is None else self._tensor(backgrounds))
        planes = (found.mask, found.mask_spread, found.depth, found.depth_spread)
        return [Maps(*maps) for maps in zip(*(plane[:, 0].cpu().numpy() for plane in planes), strict=True)]

    def _tensor(self, pictures: Pictures) -> Float[Tensor, "B 3 H W"]:
        return torch.from_numpy(np.stack(pictures)).to(self._device).permute(0, 3, 1, 2) / 255
