"""From a network's raw outputs to a prediction; the depth link is applied only here."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dmx.errors import UserError
from dmx.models.inverse import Inverse
from dmx.quartet import DepthSpec, Prediction

Rgb = tuple[float, float, float]
Link = Literal["identity", "sigmoid", "softplus", "exp", "inverse"]

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of ImageNet's RGB in [0, 1], for pretrained encoders (torchvision's constants)."""

# e**10 = 22026: far outside of any depth range on both sides, but well within float32, even when squared.
EXPONENT_LIMIT = 10.0


class JointNet(nn.Module):
    """The base class of registered models: from normalised pictures to mask logits and raw depth, both (B, 1, H, W).

    Attributes:
        needs_background: Whether it takes the background (the scene without the object) beside the image.
        multiple: H and W are multiples of this.
        least: H and W are at least this.
        colours: Mean and standard deviation of red, green and blue in [0, 1] that its initial weights expect.
        raw_depth: What its raw depth is before training: `any` number, `disparity` of any scale, 0 or more and 0
            farthest, or depth in `metres`.
        farthest: The greatest raw depth that it can give.
    """

    needs_background: bool = False
    multiple: int = 1
    least: int = 1
    colours: tuple[Rgb, Rgb] = IMAGENET
    raw_depth: Literal["any", "disparity", "metres"] = "any"
    farthest: float = math.inf

    def forward(self, image: Tensor, background: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mask logits and raw depth of normalised pictures."""
        raise NotImplementedError


class EncoderDecoder(JointNet):
    """A network with a shared part, `encode`, and a task-specific part, `decode`.

    Weightings by gradients of features take the gradients of the features between the two.
    """

    def encode(self, image: Tensor, background: Tensor | None) -> list[Tensor]:
        """The features that both tasks share, of normalised pictures."""
        raise NotImplementedError

    def decode(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Mask logits and raw depth from the features of `encode`."""
        raise NotImplementedError

    def forward(self, image: Tensor, background: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mask logits and raw depth of normalised pictures."""
        return self.decode(self.encode(image, background))


class DepthMaskModel(nn.Module):
    """A network with the normalisation of pictures before it and the depth link after it.

    A picture x in [0, 1] is normalised to (x - mean) / std for each channel. Both constants are stored with the
    weights, so that users of a trained network need not know them. Pictures may have any size: they are padded by
    replication to a size that the network accepts, and the outputs are cropped.

    Args:
        net: A network that a registered model built.
        link: From raw output to depth, as `make_link` gives it.
        normalisation: Mean and standard deviation of red, green and blue in [0, 1].

    Attributes:
        frozen: The parts that do not learn; see `freeze`.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, net: JointNet, link: Callable[[Tensor], Tensor], normalisation: tuple[Rgb, Rgb] = IMAGENET
    ) -> None:
        super().__init__()
        self.net = net
        self.link = link
        self.frozen: tuple[nn.Module, ...] = ()
        for name, values in zip(("mean", "std"), normalisation, strict=True):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1))

    def normalise_by(self, mean: Rgb, std: Rgb) -> None:
        """Set the mean and standard deviation of red, green and blue in [0, 1]."""
        for own, values in ((self.mean, mean), (self.std, std)):
            own.copy_(torch.tensor(values).view(3, 1, 1))

    def freeze(self, part: nn.Module) -> None:
        """Keep a part of the network as it is: without gradients, and in evaluation mode for its batch norms' sake."""
        part.requires_grad_(False).eval()
        self.frozen = (*self.frozen, part)

    def train(self, mode: bool = True) -> "DepthMaskModel":
        """Set training or evaluation mode; frozen parts stay in evaluation mode."""
        super().train(mode)
        for part in self.frozen:
            part.eval()
        return self

    def forward(self, image: Float[Tensor, "B 3 H W"], background: Float[Tensor, "B 3 H W"] | None) -> Prediction:
        """From pictures in [0, 1] to mask logits and depth in the data set's unit, float32 in any precision."""
        return self._predicted(self.net(*self._inputs(image, background)), image)

    def dry_run(self, size: tuple[int, int], *, traced: bool = False) -> Prediction:
        """The prediction for an empty picture in evaluation mode, for analysing the autograd graph.

        Args:
            size: The picture's height and width.
            traced: Whether the picture requires a gradient, so that autograd tracks what depends on it.
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
            UserError: The network is not an `EncoderDecoder`.
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
        """The network's inputs: normalised, and padded to a size that it accepts."""
        return self._padded(self.normalised(image)), None if background is None else self._padded(
            self.normalised(background)
        )

    def _padded(self, picture: Tensor) -> Tensor:
        """`picture` padded by replication; unchanged if the network accepts its size."""
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

        The constants are expanded along a row first: in channels-last the innermost loop then has 3 W steps instead of
        3, which is five times faster on a CPU.
        """
        row, last = (1, 3, 1, picture.shape[-1]), torch.channels_last
        shift, factor = (
            one.expand(row).contiguous(memory_format=last) for one in (-self.mean / self.std, 1 / self.std)
        )
        return torch.addcmul(shift, picture, factor)


def make_link(name: Link | Literal["auto"], spec: DepthSpec, net: JointNet | None = None) -> Callable[[Tensor], Tensor]:
    """The function from raw output r to depth d in the unit of `spec`.

    | name     | depth                                       | image             |
    |----------|---------------------------------------------|-------------------|
    | identity | d = r                                       | all numbers       |
    | sigmoid  | d = low + (high - low) σ(r)                 | low to high       |
    | softplus | d = low + ln(1 + e^r)                       | above low         |
    | exp      | d = c e^r, abs(r) <= 10                     | c/22026 to 22026c |
    | inverse  | d = 1 / (a r + 1/high), 0 <= a r <= 22026/c | c/22028 to high   |

    In `exp`, c is the range's geometric mean √(low high), so that a network whose initial r is near 0 starts inside of
    the range; if low is 0, c = high / 2. r is clamped to ±10, so that the exponential can neither overflow nor reach 0;
    NaN stays NaN.

    `inverse` takes disparity, inverse depth of unknown scale (Ranftl et al. 2022, "Towards robust monocular depth
    estimation"); see `Inverse` for its scale a, which is fitted to the data.

    `auto` is exp for metric depth, where it learned fastest (docs/model_comparison.md), and sigmoid for relative
    depth, which is bounded on both sides; but inverse if the raw depth of `net` is disparity, and identity if it is
    metres.

    Raises:
        UserError: `auto` is to make depth of metres, but that of the data is relative, or farther than `net` can give.
    """
    if name == "auto":
        name = automatic(spec, net)
    centre = math.sqrt(spec.low * spec.high) if spec.low > 0 else spec.high / 2
    match name:
        case "identity":
            return identity
        case "sigmoid":
            return partial(sigmoid, low=spec.low, high=spec.high)
        case "softplus":
            return partial(softplus, low=spec.low)
        case "exp":
            return partial(exponential, centre=centre)
        case "inverse":
            return Inverse(spec, centre)


def automatic(spec: DepthSpec, net: JointNet | None) -> Link:
    """The link that `auto` stands for; see `make_link`."""
    if net is not None and net.raw_depth == "metres":
        if spec.kind == "metric" and spec.high <= net.farthest:
            return "identity"
        data = f"goes to {spec.high:g} m" if spec.kind == "metric" else "is relative"
        raise UserError(
            f"the model's depth is metres up to {net.farthest:g}, but that of the data set {data}; take a model or "
            "checkpoint for such depth or for relative depth, or set depth_link to identity, and nothing is converted."
        )
    if net is not None and net.raw_depth == "disparity":
        return "inverse"
    return "exp" if spec.kind == "metric" else "sigmoid"


# Module-level functions, not closures, so that models can be pickled for workers and exported.
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
    """The smallest padding before and after `side` pixels so that `net` accepts the result."""
    wanted = math.ceil(max(side, net.least) / net.multiple) * net.multiple
    return (wanted - side) // 2, (wanted - side + 1) // 2


def describe_parameters(net: Any) -> int:
    """The number of learned parameters of `net`, an `nn.Module`."""
    return sum(parameter.numel() for parameter in net.parameters())
