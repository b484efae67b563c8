"""Building blocks of all own networks but the baseline: convolutions with norms, and the U shape.

    image, background -> block -> pool -> block -> pool -> bottleneck -> up -> block -> up -> block -> head -> mask
                           |                |                               |            |         (and so for depth)
                           |                +--------- concatenate ---------+            |
                           +--------------------- concatenate ---------------------------+

The U: Ronneberger et al. 2015, "U-Net: convolutional networks for biomedical image segmentation". Ours pads its
convolutions, normalises batches, and has a decoder for each task.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dmx.models.inputs import AnyInputs, Pictures, needs_background
from dmx.models.joint import EncoderDecoder
from dmx.models.upsampling import Mode, upsampler

Block = Callable[[int, int], nn.Module]
"""Creates a module from `channels_in` to `channels_out` channels that keeps height and width."""


def conv_norm(
    channels_in: int, channels_out: int, kernel: int, stride: int = 1, dilation: int = 1, groups: int = 1
) -> nn.Sequential:
    """A padded convolution without bias, and batch norm, whose shift replaces the bias."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride, padding, dilation, groups, bias=False),
        nn.BatchNorm2d(channels_out),
    )


def conv_norm_relu(channels_in: int, channels_out: int, kernel: int, stride: int = 1, dilation: int = 1) -> nn.Module:
    """Convolution, batch norm and ReLU."""
    return nn.Sequential(*conv_norm(channels_in, channels_out, kernel, stride, dilation), nn.ReLU())


def separable(channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """A depthwise, then a pointwise convolution: c (k² + c') weights instead of c c' k².

    Source: Howard et al. 2017, "MobileNets: efficient convolutional neural networks for mobile vision applications".
    """
    return nn.Sequential(
        *conv_norm(channels_in, channels_in, kernel, stride, groups=channels_in),
        nn.ReLU(),
        *conv_norm(channels_in, channels_out, 1),
        nn.ReLU(),
    )


class UEncoder(nn.Module):
    """The encoder of the U: a block and a pool at each size, then the bottleneck."""

    def __init__(self, channels: Sequence[int], block: Block, bottleneck: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(block(c, d) for c, d in pairwise(channels))
        self.pool = nn.MaxPool2d(2)
        self.bottleneck = bottleneck

    def forward(self, x: Float[Tensor, "B C H W"]) -> list[Float[Tensor, "B _ _ _"]]:
        """The outputs of each block and of the bottleneck, large to small."""
        features = []
        for block in self.blocks:
            features.append(block(x))
            x = self.pool(features[-1])
        return [*features, self.bottleneck(x)]


class UDecoder(nn.Module):
    """The decoder of the U for one task: at each size upsample, concatenate the skip, apply a block; then the head."""

    def __init__(self, channels: Sequence[int], block: Block, upsampling: Mode) -> None:
        super().__init__()
        pairs = list(pairwise(reversed(channels)))
        self.ups = nn.ModuleList(upsampler(c, d, upsampling) for c, d in pairs)
        self.blocks = nn.ModuleList(block(2 * d, d) for _, d in pairs)
        self.head = nn.Conv2d(channels[0], 1, 3, padding=1)

    def forward(self, features: list[Tensor]) -> Float[Tensor, "B 1 H W"]:
        """The task's raw output from the encoder's features, large to small."""
        x = features[-1]
        for up, block, feature in zip(self.ups, self.blocks, features[-2::-1], strict=True):
            x = block(torch.cat([up(x), feature], dim=1))
        return self.head(x)  # type: ignore[no-any-return]


class TwoDecoders(EncoderDecoder):
    """A network of an encoder of the pictures, made by a subclass, and of a decoder of its features for each task."""

    encoder: nn.Module
    mask_decoder: nn.Module
    depth_decoder: nn.Module

    def __init__(self, inputs: AnyInputs) -> None:
        super().__init__()
        self.pictures = Pictures(inputs)
        self.needs_background = needs_background(inputs)

    def encode(
        self, image: Float[Tensor, "B 3 H W"], background: Float[Tensor, "B 3 H W"] | None
    ) -> list[Float[Tensor, "B _ _ _"]]:
        """The encoder's features, large to small."""
        return self.encoder(self.pictures(image, background))  # type: ignore[no-any-return]

    def decode(self, features: list[Tensor]) -> tuple[Float[Tensor, "B 1 H W"], Float[Tensor, "B 1 H W"]]:
        """Mask logits and raw depth."""
        return self.mask_decoder(features), self.depth_decoder(features)


class UNet(TwoDecoders):
    """A U with one encoder and two decoders.

    Args:
        channels: Channels of the blocks, large to small, and of the bottleneck's output.
        inputs: The input pictures.
        upsampling: The decoders' upsampling method.
        down: Creates a block of the encoder.
        bottleneck: The module between encoder and decoders, from `channels[-2]` to `channels[-1]` channels.
        up: Creates a block of a decoder.
    """

    def __init__(
        self,
        channels: Sequence[int],
        inputs: AnyInputs,
        upsampling: Mode,
        down: Block,
        bottleneck: nn.Module,
        up: Block,
    ) -> None:
        super().__init__(inputs)
        self.multiple = 2 ** (len(channels) - 1)
        self.least = 2 * self.multiple  # so that the bottleneck's norms see more than one value, even in a batch of one
        self.encoder = UEncoder([self.pictures.channels, *channels[:-1]], down, bottleneck)
        self.mask_decoder = UDecoder(channels, up, upsampling)
        self.depth_decoder = UDecoder(channels, up, upsampling)
