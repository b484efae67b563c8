"""Several networks, and mirrored pictures, as one prediction with its uncertainty."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor, nn

from dmx.quartet import Prediction

Planes = Float32[np.ndarray, "H W"]


@dataclass(frozen=True)
class Maps:
    """One picture's prediction.

    Attributes:
        mask: The probability of the object.
        depth: The depth, in the unit of the training data.
        mask_spread: The standard deviation of the probability over members and flips.
        depth_spread: The standard deviation of the depth, in its unit.
    """

    mask: Planes
    depth: Planes
    mask_spread: Planes
    depth_spread: Planes


class Ensemble:
    """Several networks as one, each of the picture and, with `flip`, of its mirror image.

    The mask is the mean of the probabilities, that of a mixture of the members (Lakshminarayanan et al. 2017, "Simple
    and scalable predictive uncertainty estimation using deep ensembles"). Depth is the plain mean, of all single values
    the one with the least squared error over the members, whatever their depth links are. The geometric mean, that of
    log depth, is lower by about s² / 2 of it, where s is the members' relative spread: half a percent at 10 %.

    Uncertainty is the standard deviation over the same values, divided by their number n rather than n - 1: that of the
    mixture. Of two values it is half of their difference.

    Args:
        models: `DepthMaskModel`s with their weights, each on its device.
        flip: Whether to predict each picture's mirror image as well, turned back.
    """

    def __init__(self, models: Sequence[nn.Module], *, flip: bool = False) -> None:
        self.models = [model.eval() for model in models]
        self._flip = flip

    @torch.inference_mode()
    def __call__(
        self, images: Sequence[UInt8[np.ndarray, "H W 3"]], backgrounds: Sequence[UInt8[np.ndarray, "H W 3"]] | None
    ) -> list[Maps]:
        """Predict pictures of one size, in one batch.

        Args:
            images: RGB pictures.
            backgrounds: The scenes without the object, if the networks take them.
        """
        image = torch.from_numpy(np.stack(images))
        background = None if backgrounds is None else torch.from_numpy(np.stack(backgrounds))
        found = [each for model in self.models for each in self._of(model, image, background)]
        planes = []
        for values in (
            torch.stack([one.mask_logits.sigmoid() for one in found]),
            torch.stack([o.depth for o in found]),
        ):
            planes += [values.mean(0), values.std(0, correction=0)]
        mask, mask_spread, depth, depth_spread = (plane[:, 0].cpu().numpy() for plane in planes)
        return [Maps(*maps) for maps in zip(mask, depth, mask_spread, depth_spread, strict=True)]

    def _of(
        self, model: nn.Module, image: UInt8[Tensor, "B H W 3"], background: UInt8[Tensor, "B H W 3"] | None
    ) -> list[Prediction]:
        """The model's prediction of the pictures and, if asked for, of their mirror images, turned back."""
        device = next(model.parameters()).device

        def tensor(pictures: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B 3 H W"]:
            return pictures.to(device).permute(0, 3, 1, 2) / 255

        first = tensor(image)
        second = None if background is None else tensor(background)
        made = [model(first, second)]
        if self._flip:
            turned = model(first.flip(3), None if second is None else second.flip(3))
            made.append(Prediction(turned.mask_logits.flip(3), turned.depth.flip(3)))
        return made
