"""An architecture of segmentation-models-pytorch as a joint network, in one of three forms.

shared        pictures -> encoder -> decoder -> two heads
two_decoders  pictures -> encoder -> a decoder and a head for each task
cross_stitch  the same, with a learned mixture of the decoders' outputs before the heads

With `details` each head also sees features of full size, which the library's encoders, unlike Ronneberger's, lack.
"""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dmx.errors import UserError
from dmx.models.inputs import AnyInputs, Pictures, needs_background
from dmx.models.joint import EncoderDecoder
from dmx.models.smp.encoders import TIMM, colours_of

Form = Literal["shared", "two_decoders", "cross_stitch"]
DETAILS = 16  # channels of the features of full size


@dataclass(frozen=True)
class Architecture:
    """The properties of one of the library's architectures.

    Attributes:
        library: Its name in the library.
        encoders: A description of the encoders that it supports.
        instead: An example of a supported encoder.
        multiple: H and W must be multiples of this, whatever the encoder; of `tokens`, with patches of 8, 16 or 32.
        least: H and W must be at least this, so that norms at 1/32 of the size see more than one value per channel.
        least_batch: The smallest batch for training: 2 if a norm follows pooling to a single place.
        tokens: Whether its decoder takes tokens of the whole picture beside spatial features.
        arguments: The library's arguments besides the encoder.
    """

    library: str
    encoders: str = "an encoder with features at a half, a quarter, ..., a 32nd of the size, and of any size"
    instead: str = "resnet18"
    multiple: int = 1
    least: int = 64
    least_batch: int = 1
    tokens: bool = False
    arguments: dict[str, Any] = field(default_factory=dict)

    def build(self, encoder: str, channels: int, weights: str) -> Any:
        """Build the library's network with one output channel for `channels` input channels."""
        import segmentation_models_pytorch

        pretrained: str | bool | None = None if weights == "none" else weights
        if pretrained and encoder.startswith(TIMM):  # for these, weights are part of the encoder's name
            encoder, pretrained = f"{encoder}.{weights}", True
        # Swin's windows do not depend on the picture's size, but timm by default requires that of the weights.
        any_size = {"strict_img_size": False} if encoder.startswith(f"{TIMM}swin") else {}
        net = getattr(segmentation_models_pytorch, self.library)(
            encoder, encoder_weights=pretrained, in_channels=channels, classes=1, **self.arguments, **any_size
        )
        return reassembled(net) if self.tokens else net

    def multiple_for(self, stride: int) -> int:
        """What H and W must be multiples of with an encoder whose last features have this stride."""
        if not self.tokens:
            return max(stride, self.multiple)
        return stride * max(1, self.multiple // power_of_two(stride))


def power_of_two(patch: int) -> int:
    """The power of two that is nearest to the side of a patch, in octaves."""
    return int(2 ** round(math.log2(patch)))


def reassembled(net: Any) -> Any:
    """The library's DPT with a decoder that fits patches whose side is no power of two, such as DINOv2's of 14.

    The library's decoder enlarges patches of P pixels by P/4, P/8, P/16 and P/32, rounded; at P = 14 the results do not
    fit together. Here they are enlarged as patches of 16 pixels, by 4, 2, 1 and 1/2, and so is the whole but for the
    head's last interpolation: by 2·14/16 instead of 2. Ranftl et al. 2021 say nothing of such patches; Oquab et al.
    2023 (DINOv2) and Yang et al. 2024 (Depth Anything) enlarge them by the same four factors.
    """
    encoder, decoder, patch = net.encoder, net.decoder, net.encoder.output_stride
    if patch == power_of_two(patch):
        return net
    net.decoder = type(decoder)(
        encoder_out_channels=encoder.out_channels,
        encoder_output_strides=[power_of_two(stride) for stride in encoder.output_strides],
        encoder_has_prefix_tokens=encoder.has_prefix_tokens,
        intermediate_channels=[block.project_to_out_channel.out_channels for block in decoder.reassemble_blocks],
        fusion_channels=decoder.fusion_blocks[0].project.out_channels,
    )
    net.segmentation_head.upsampling_factor *= patch / power_of_two(patch)
    net.initialize()  # the library's initial weights, for the new decoder
    return net


class CrossStitch(nn.Module):
    """A learned mixture of two tasks' features, channel by channel.

        [x~_A]   [α_AA α_AB] [x_A]
        [x~_B] = [α_BA α_BB] [x_B]

    Source: Misra et al. 2016, "Cross-stitch networks for multi-task learning", eq. 1. As there, each channel has its
    own α, initialised near the identity: 0.9 from its own task and 0.1 from the other. The paper has such units between
    the layers of two whole networks; we have one, behind the two decoders of one encoder.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.tensor([[0.9, 0.1], [0.1, 0.9]])[..., None].repeat(1, 1, channels))

    def forward(self, x: list[Float[Tensor, "B C h w"]]) -> list[Float[Tensor, "B C h w"]]:
        """The mixtures x~_s = Σ_t α_st x_t."""
        A, B = x
        a = self.alpha[..., None, None]
        return [a[0, 0] * A + a[0, 1] * B, a[1, 0] * A + a[1, 1] * B]


class DetailHead(nn.Module):
    """The head of a task that sees features of full size beside the decoder's output.

    decoder's output -> 1x1 -> enlarged; with the features -> 3x3, norm, ReLU -> 3x3 -> one channel
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(channels, DETAILS, 1)
        self.mix = nn.Sequential(
            nn.Conv2d(2 * DETAILS, DETAILS, 3, padding=1, bias=False),
            nn.BatchNorm2d(DETAILS),
            nn.ReLU(),
            nn.Conv2d(DETAILS, 1, 3, padding=1),
        )

    def forward(self, x: Float[Tensor, "B C h w"], details: Float[Tensor, "B D H W"]) -> Float[Tensor, "B 1 H W"]:
        """The task's raw output of full size."""
        enlarged = nn.functional.interpolate(self.narrow(x), details.shape[-2:], mode="bilinear")
        return self.mix(torch.cat([enlarged, details], dim=1))  # type: ignore[no-any-return]


class SmpNet(EncoderDecoder):
    """The network of the module's docstring.

    Args:
        architecture: The library's architecture.
        encoder: The encoder's name.
        form: What the tasks share.
        inputs: The input pictures.
        weights: The encoder's initial weights; `none`: random.
        details: Whether the heads see features of full size.
    """

    def __init__(
        self, architecture: Architecture, encoder: str, form: Form, inputs: AnyInputs, weights: str, details: bool
    ) -> None:
        super().__init__()
        self.pictures = Pictures(inputs)
        self.needs_background = needs_background(inputs)
        # The second network only supplies a decoder and a head with their own random initial weights.
        net, other = (architecture.build(encoder, self.pictures.channels, start) for start in (weights, "none"))
        self.multiple = architecture.multiple_for(net.encoder.output_stride)
        self.least = architecture.least
        self.least_batch = architecture.least_batch
        if weights != "none":
            self.colours = colours_of(encoder, weights)
        self.encoder = net.encoder
        self.decoders = nn.ModuleList([net.decoder] if form == "shared" else [net.decoder, other.decoder])
        self.heads = nn.ModuleList([net.segmentation_head, other.segmentation_head])
        channels = next(m.in_channels for m in net.segmentation_head.modules() if isinstance(m, nn.Conv2d))
        self.stitch = CrossStitch(channels) if form == "cross_stitch" else None
        self.details: nn.Module | None = None
        if details:
            first = nn.Conv2d(self.pictures.channels, DETAILS, 3, padding=1, bias=False)
            self.details = nn.Sequential(first, nn.BatchNorm2d(DETAILS), nn.ReLU())
            self.heads = nn.ModuleList(DetailHead(channels) for _ in range(2))

    def encode(
        self, image: Float[Tensor, "B 3 H W"], background: Float[Tensor, "B 3 H W"] | None
    ) -> list[Float[Tensor, "B ..."]]:
        """The encoder's features, or the decoder's output if the tasks share the decoder; features of full size last.

        Raises:
            UserError: The network takes backgrounds, but there is none; or a batch is too small for training.
        """
        if self.training and len(image) < self.least_batch:
            raise UserError(
                f"this architecture normalises features pooled to one place, which needs {self.least_batch} pictures "
                f"in each training batch, but got {len(image)}; raise batch_size, or leave a last, smaller batch out."
            )
        pictures = self.pictures(image, background)
        features = self._features(pictures)
        shared = [self._decoded(0, features)] if len(self.decoders) == 1 else features
        return shared if self.details is None else [*shared, self.details(pictures)]

    def decode(self, features: list[Tensor]) -> tuple[Float[Tensor, "B 1 H W"], Float[Tensor, "B 1 H W"]]:
        """Mask logits and raw depth."""
        details = [] if self.details is None else [features[-1]]
        features = features[: len(features) - len(details)]
        shared = len(self.decoders) == 1
        decoded = features * 2 if shared else [self._decoded(task, features) for task in range(2)]
        if self.stitch is not None:
            decoded = self.stitch(decoded)
        mask_logits, depth_raw = (head(x, *details) for head, x in zip(self.heads, decoded, strict=True))
        return mask_logits, depth_raw

    def _features(self, x: Tensor) -> list[Tensor]:
        """The encoder's learned features, without the copy of its input and placeholders for missing scales."""
        return [feature for feature in self.encoder(x)[1:] if feature.shape[1] > 0]

    def _decoded(self, task: int, features: list[Tensor]) -> Tensor:
        """A decoder's output; decoders use only the sizes, not the values, of the features that `_features` omits."""
        deepest = features[-1]
        B, _, h, w = deepest.shape
        H, W = h * self.encoder.output_stride, w * self.encoder.output_stride
        missing = [deepest.new_empty(B, 0, H, W)]
        if self.encoder.out_channels[1] == 0:  # transformers begin at 1/4 of the size
            missing.append(deepest.new_empty(B, 0, H // 2, W // 2))
        return self.decoders[task](missing + features)  # type: ignore[no-any-return]


class TokenNet(SmpNet):
    """DPT, whose encoder returns tokens of the whole picture with each of its features."""

    def _features(self, x: Tensor) -> list[Tensor]:
        features, tokens = self.encoder(x)
        return [*features, *(one for one in tokens if one is not None)]

    def _decoded(self, task: int, features: list[Tensor]) -> Tensor:
        n = len(self.encoder.out_channels)
        return self.decoders[task](features[:n], features[n:] or [None] * n)  # type: ignore[no-any-return]
