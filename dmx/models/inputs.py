"""The input pictures of a network."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dmx.errors import UserError

Inputs = Literal["image+background", "image+difference", "image"]
AnyInputs = Literal["image+background", "image+difference", "image", "two_stems"]
"""Two stems: each picture has its own first convolution before the two are concatenated."""

STEM = 8  # channels of each of two stems


def needs_background(inputs: str) -> bool:
    """Whether a network with these `inputs` takes the background beside the image."""
    return inputs != "image"


def require_background(background: Float[Tensor, "B 3 H W"] | None) -> Float[Tensor, "B 3 H W"]:
    """Return `background`, which the network requires.

    Raises:
        UserError: There is no background.
    """
    if background is None:
        raise UserError(
            "this network takes the background beside the image, but the data set has no backgrounds (triplets); "
            "set the model's inputs to 'image'."
        )
    return background


def second_picture(
    image: Float[Tensor, "B 3 H W"], background: Float[Tensor, "B 3 H W"] | None, inputs: AnyInputs
) -> Float[Tensor, "B 3 H W"]:
    """What a network sees beside the image: the background, or the difference image - background.

    The difference is 0 where nothing has changed, so that a mask needs no comparison of two pictures first (Daudt et
    al. 2018, "Fully convolutional siamese networks for change detection", compare the differences of features).

    Raises:
        UserError: The background is missing.
    """
    background = require_background(background)
    return image - background if inputs == "image+difference" else background


def stack_inputs(
    image: Float[Tensor, "B 3 H W"], background: Float[Tensor, "B 3 H W"] | None, inputs: Inputs
) -> Float[Tensor, "B C H W"]:
    """The image alone (C = 3), or with the second picture concatenated along the channels (C = 6).

    Raises:
        UserError: The background is required but missing.
    """
    return image if inputs == "image" else torch.cat([image, second_picture(image, background, inputs)], dim=1)


class Pictures(nn.Module):
    """The input of an encoder: the pictures concatenated along the channels, or the output of a stem for each.

    Attributes:
        channels: The number of channels of the result.
    """

    def __init__(self, inputs: AnyInputs) -> None:
        super().__init__()
        self.inputs: AnyInputs = inputs
        self.channels = {"image": 3, "two_stems": 2 * STEM}.get(inputs, 6)
        if inputs == "two_stems":
            self.image_stem, self.background_stem = stem(), stem()

    def forward(
        self, image: Float[Tensor, "B 3 H W"], background: Float[Tensor, "B 3 H W"] | None
    ) -> Float[Tensor, "B C H W"]:
        """The encoder's input.

        Raises:
            UserError: The background is required but missing.
        """
        if self.inputs != "two_stems":
            return stack_inputs(image, background, self.inputs)
        return torch.cat([self.image_stem(image), self.background_stem(require_background(background))], dim=1)


def stem() -> nn.Sequential:
    """The stem of one picture: convolution, norm and ReLU."""
    return nn.Sequential(nn.Conv2d(3, STEM, 3, padding=1, bias=False), nn.BatchNorm2d(STEM), nn.ReLU())
