"""From a network's raw outputs to a prediction: the one place where the depth link is applied."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

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


class JointNet(nn.Module):
    """What a registered model builds: from normalised pictures to mask logits and raw depth, both (B, 1, H, W).

    Attributes:
        needs_background: Whether it takes the scene without the object beside the image.
        multiple: H and W are multiples of this.
        least: H and W are at least this.
        colours: Mean and standard deviation of red, green and blue in [0, 1] that its first weights expect.
    """

    needs_background: bool = False
    multiple: int = 1
    least: int = 1
    colours: tuple[Rgb, Rgb] = IMAGENET

    def forward(self, image: Tensor, background: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mask logits and raw depth of normalised pictures."""
        raise NotImplementedError


class EncoderDecoder(JointNet):
    """A network in two halves: what both tasks share, and what they do not.

    Weightings by gradients of features look at what passes from the one to the other.
    """

    def encode(self, image: Tensor, background: Tensor | None) -> list[Tensor]:
        """The features that both tasks share, of normalised pictures."""
        raise NotImplementedError

    def decode(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Mask logits and raw depth from what `encode` gives."""
        raise NotImplementedError

    def forward(self, image: Tensor, background: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mask logits and raw depth of normalised pictures."""
        return self.decode(self.encode(image, background))


class DepthMaskModel(nn.Module):
    """A network between the normalisation of pictures and its depth link.

    A picture x in [0, 1] goes in as (x - mean) / std, channel by channel. Both are kept with the weights, so that no
    user of a trained network has to know them. Pictures of any size are taken: around one that the network cannot take
    its outermost pixels are repeated, and the outputs are cropped again.

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

    def normalise_by(self, mean: Rgb, std: Rgb) -> None:
        """Take this mean and standard deviation of red, green and blue in [0, 1] instead."""
        for own, values in ((self.mean, mean), (self.std, std)):
            own.copy_(torch.tensor(values).view(3, 1, 1))

    def forward(self, image: Float[Tensor, "B 3 H W"], background: Float[Tensor, "B 3 H W"] | None) -> Prediction:
        """From pictures in [0, 1] to mask logits and depth in the data set's unit, float32 whatever the precision."""
        return self._predicted(self.net(*self._inputs(image, background)), image)

    def look(self, size: tuple[int, int], *, traced: bool = False) -> Prediction:
        """The prediction of an empty picture, in evaluation mode: to see how the outputs come to be.

        Args:
            size: The picture's.
            traced: Whether the picture requires a gradient, so that autograd tells what comes from it.
        """
        picture = self.mean.new_zeros(1, 3, *size).requires_grad_(traced)
        was_training = self.training
        self.eval()
        prediction: Prediction = self(picture, picture if self.net.needs_background else None)
        self.train(was_training)
        return prediction

    def encode(self, image: Float[Tensor, "B 3 H W"], background: Float[Tensor, "B 3 H W"] | None) -> list[Tensor]:
        """The first half of `forward`: the features that both tasks share.

        Raises:
            UserError: The network is not in two halves.
        """
        return self._halves().encode(*self._inputs(image, background))

    def decode(self, features: list[Tensor], image: Float[Tensor, "B 3 H W"]) -> Prediction:
        """The second half of `forward`: from the features of `image` to its prediction."""
        return self._predicted(self._halves().decode(features), image)

    def _halves(self) -> EncoderDecoder:
        if not isinstance(self.net, EncoderDecoder):
            raise UserError(
                "a weighting on features needs a network that tells what its tasks share, but "
                f"{type(self.net).__name__} has no `encode` and `decode` (dmx.models.EncoderDecoder); set the "
                "weighting's `gradients_of` to parameters."
            )
        return self.net

    def _inputs(self, image: Tensor, background: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """What the network gets: normalised, and padded to a size that it takes."""
        return self._padded(self.normalised(image)), None if background is None else self._padded(
            self.normalised(background)
        )

    def _padded(self, picture: Tensor) -> Tensor:
        """`picture` between copies of its outermost pixels; itself where the network takes its size."""
        (top, bottom), (left, right) = (margins(side, self.net) for side in picture.shape[-2:])
        if not any((top, bottom, left, right)):
            return picture
        return nn.functional.pad(picture, (left, right, top, bottom), mode="replicate")

    def _predicted(self, raw: tuple[Tensor, Tensor], image: Tensor) -> Prediction:
        """The prediction from raw outputs, cropped to the size of `image`."""
        height, width = image.shape[-2:]
        top, left = margins(height, self.net)[0], margins(width, self.net)[0]
        mask_logits, depth_raw = (one[..., top : top + height, left : left + width].float() for one in raw)
        with torch.autocast(image.device.type, enabled=False):
            return Prediction(mask_logits, self.link(depth_raw))

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


def make_link(name: Link | Literal["auto"], spec: DepthSpec) -> Callable[[Tensor], Tensor]:
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

    `auto` is exp for metric depth, where it learned fastest (docs/model_comparison.md), and sigmoid for relative
    depth, which has no unit but two ends.
    """
    if name == "auto":
        name = "exp" if spec.kind == "metric" else "sigmoid"
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


def margins(side: int, net: JointNet) -> tuple[int, int]:
    """How many pixels to add before and after `side` pixels, so that `net` takes them: as few as will do."""
    wanted = math.ceil(max(side, net.least) / net.multiple) * net.multiple
    return (wanted - side) // 2, (wanted - side + 1) // 2


def describe_parameters(net: Any) -> int:
    """The number of learned parameters of `net`, an `nn.Module`."""
    return sum(parameter.numel() for parameter in net.parameters())
