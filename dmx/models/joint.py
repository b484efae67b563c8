"""From a network's raw outputs to a prediction: the one place where the depth link is applied."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dmx.errors import UserError
from dmx.quartet import DepthSpec, Prediction

Rgb = tuple[float, float, float]
Link = Literal["identity", "sigmoid", "softplus", "exp"]

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and deviation of ImageNet's RGB in [0, 1], which pretrained encoders expect (torchvision's constants)."""

# e**10 = 22026: far outside of any depth range on both sides, far inside of float32 (and of its square).
EXPONENT_LIMIT = 10.0


@runtime_checkable
class JointNet(Protocol):
    """What a registered model builds: an `nn.Module` that returns mask logits and raw depth, both (B, 1, H, W)."""

    needs_background: bool
    multiple: int

    def __call__(self, image: Tensor, background: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mask logits and raw depth of normalised pictures."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """The learned parameters."""


class DepthMaskModel(nn.Module):
    """A network between the normalisation of pictures and its depth link.

    A picture x in [0, 1] goes in as (x - mean) / std, channel by channel. Both are kept with the weights, so that no
    user of a trained network has to know them.

    Args:
        net: A network that a registered model built.
        link: From raw output to depth, as `make_link` gives it.
        normalisation: Mean and standard deviation of red, green and blue in [0, 1].
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, net: JointNet, link: Callable[[Tensor], Tensor], normalisation: tuple[Rgb, Rgb] = IMAGENET
    ) -> None:
        super().__init__()
        self.net = net
        self.link = link
        for name, values in zip(("mean", "std"), normalisation, strict=True):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1))

    def forward(self, image: Float[Tensor, "B 3 H W"], background: Float[Tensor, "B 3 H W"] | None) -> Prediction:
        """From pictures in [0, 1] to mask logits and depth in the data set's unit, float32 whatever the precision."""
        behind = None if background is None else self.normalised(background)
        mask_logits, depth_raw = self.net(self.normalised(image), behind)
        with torch.autocast(image.device.type, enabled=False):
            return Prediction(mask_logits.float(), self.link(depth_raw.float()))

    def normalised(self, picture: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
        """(x - mean) / std as -mean / std + x * (1 / std).

        The constants are spread along a row first: in channels-last the innermost loop then has 3 W steps instead of 3,
        which takes a fifth of the time on a CPU.
        """
        row, last = (1, 3, 1, picture.shape[-1]), torch.channels_last
        shift, factor = (
            one.expand(row).contiguous(memory_format=last) for one in (-self.mean / self.std, 1 / self.std)
        )
        return torch.addcmul(shift, picture, factor)


def make_link(name: Link, spec: DepthSpec) -> Callable[[Tensor], Tensor]:
    """The function from raw output r to depth d in the unit of `spec`.

    | name     | depth                        | image             |
    |----------|------------------------------|-------------------|
    | identity | d = r                        | all numbers       |
    | sigmoid  | d = low + (high - low) σ(r)  | low to high       |
    | softplus | d = low + ln(1 + e^r)        | above low         |
    | exp      | d = c e^r, abs(r) <= 10      | c/22026 to 22026c |

    In `exp`, c is the range's geometric middle √(low high), so that a network that starts near r = 0 starts inside of
    the range; where low is 0, which has no geometric middle, c = high / 2. r is clamped to ±10: the exponential can
    neither overflow nor reach 0, and NaN stays NaN.
    """
    match name:
        case "identity":
            return identity
        case "sigmoid":
            return partial(sigmoid, low=spec.low, high=spec.high)
        case "softplus":
            return partial(softplus, low=spec.low)
        case "exp":
            centre = math.sqrt(spec.low * spec.high) if spec.low > 0 else spec.high / 2
            return partial(exponential, centre=centre)


# Module-level functions, not closures: a model can be pickled for workers and exported.
def identity(r: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The raw output itself."""
    return r


def sigmoid(r: Float[Tensor, "..."], low: float, high: float) -> Float[Tensor, "..."]:
    """From `low` to `high`: low + (high - low) σ(r)."""
    return low + (high - low) * r.sigmoid()


def softplus(r: Float[Tensor, "..."], low: float) -> Float[Tensor, "..."]:
    """Above `low`: low + ln(1 + e^r)."""
    return low + nn.functional.softplus(r)


def exponential(r: Float[Tensor, "..."], centre: float) -> Float[Tensor, "..."]:
    """Around `centre`, c: c e^r with abs(r) <= 10."""
    return centre * r.clamp(-EXPONENT_LIMIT, EXPONENT_LIMIT).exp()


def check_size(net: JointNet, size: tuple[int, int], name: str) -> None:
    """Make sure that the network `net`, registered as `name`, takes pictures of `size` (height, width).

    Raises:
        UserError: It does not; the message proposes the next sizes that it takes.
    """
    multiple = net.multiple
    if all(side % multiple == 0 for side in size):
        return
    smaller = tuple(side // multiple * multiple for side in size)
    larger = tuple(math.ceil(side / multiple) * multiple for side in size)
    proposals = [f"{height}x{width}" for height, width in (smaller, larger) if height and width]
    raise UserError(
        f"model '{name}' takes heights and widths divisible by {multiple}, but got {size[0]}x{size[1]}; "
        f"use {' or '.join(proposals)}."
    )


def describe_parameters(net: Any) -> int:
    """The number of learned parameters of `net`, an `nn.Module`."""
    return sum(parameter.numel() for parameter in net.parameters())
