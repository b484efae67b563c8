"""Which pictures a network looks at."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dmx.errors import UserError

Inputs = Literal["image+background", "image"]
AnyInputs = Literal["image+background", "image", "two_stems"]
"""Two stems: each picture passes a convolution of its own before they are put together."""

STEM = 8  # channels of each of two stems


def needs_background(inputs: str) -> bool:
    """Whether a network with these `inputs` looks at the background beside the image."""
    return inputs != "image"


def require_background(background: Float[Tensor, "B 3 H W"] | None) -> Float[Tensor, "B 3 H W"]:
    """`background`, which the network cannot do without.

    Raises:
        UserError: There is none.
    """
    if background is None:
        raise UserError(
            "this network takes the background beside the image, but the data set has no backgrounds (triplets); "
            "set the model's inputs to 'image'."
        )
    return background


def stack_inputs(
    image: Float[Tensor, "B 3 H W"], background: Float[Tensor, "B 3 H W"] | None, inputs: Inputs
) -> Float[Tensor, "B C H W"]:
    """The image, or image and background one after the other along the channels (C = 3 or 6).

    Raises:
        UserError: The background is asked for but there is none.
    """
    return image if inputs == "image" else torch.cat([image, require_background(background)], dim=1)


class Pictures(nn.Module):
    """What an encoder gets: the pictures along the channels, or a convolution, norm and ReLU of each.

    Attributes:
        channels: How many channels that has.
    """

    def __init__(self, inputs: AnyInputs) -> None:
        super().__init__()
        self.inputs: AnyInputs = inputs
        self.channels = {"image": 3, "image+background": 6, "two_stems": 2 * STEM}[inputs]
        if inputs == "two_stems":
            self.image_stem, self.background_stem = stem(), stem()

    def forward(
        self, image: Float[Tensor, "B 3 H W"], background: Float[Tensor, "B 3 H W"] | None
    ) -> Float[Tensor, "B C H W"]:
        """The encoder's input.

        Raises:
            UserError: The background is asked for but there is none.
        """
        if self.inputs != "two_stems":
            return stack_inputs(image, background, self.inputs)
        return torch.cat([self.image_stem(image), self.background_stem(require_background(background))], dim=1)


def stem() -> nn.Sequential:
    """The first layers of one picture."""
    return nn.Sequential(nn.Conv2d(3, STEM, 3, padding=1, bias=False), nn.BatchNorm2d(STEM), nn.ReLU())
