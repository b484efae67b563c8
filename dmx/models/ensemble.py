"""Several networks, and mirrored pictures, as one prediction with its uncertainty."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from dmx.quartet import Prediction

Planes = Float32[Tensor, "B 1 H W"]
Pictures = Float[Tensor, "B 3 H W"]
Member = Callable[[Pictures, Pictures | None], Prediction]
"""Predicts a batch of pictures in [0, 1], with the scenes without the object, or without them."""
LEAST = 1e-7
"""Distance of a mean probability from 0 and 1 at which its logit ends: some 16."""


@dataclass(frozen=True)
class Combined(Prediction):
    """The prediction of an ensemble, with its uncertainty.

    Attributes:
        mask: The probability of the object; `mask_logits` are its logits, from -16 to 16.
        mask_spread: The standard deviation of the probability over members and flips.
        depth_spread: The standard deviation of the depth, in its unit.
    """

    mask: Planes
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
    """

    def __init__(self, members: Sequence[Member], *, flip: bool = False) -> None:
        self._members, self._flip = members, flip

    @torch.no_grad()
    def __call__(self, image: Pictures, background: Pictures | None) -> Combined:
        """Predict a batch of pictures, each with the scene without the object if the networks take it."""
        found = [each for member in self._members for each in self._of(member, image, background)]
        masks = torch.stack([one.mask_logits.float().sigmoid() for one in found])
        depths = torch.stack([one.depth.float() for one in found])
        mask = masks.mean(0)
        return Combined(
            mask_logits=torch.logit(mask, eps=LEAST),
            depth=depths.mean(0),
            mask=mask,
            mask_spread=masks.std(0, correction=0),
            depth_spread=depths.std(0, correction=0),
        )

    def _of(self, member: Member, image: Pictures, background: Pictures | None) -> list[Prediction]:
        """The member's prediction of the pictures and, if asked for, of their mirror images, turned back."""
        made = [member(image, background)]
        if self._flip:
            turned = member(image.flip(3), None if background is None else background.flip(3))
            made.append(Prediction(turned.mask_logits.flip(3), turned.depth.flip(3)))
        return made
