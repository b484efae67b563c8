"""Which pictures a network looks at."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from dmx.errors import UserError

Inputs = Literal["image+background", "image"]
AnyInputs = Literal["image+background", "image", "two_stems"]
"""Two stems: each picture passes a convolution of its own before they are put together."""


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
