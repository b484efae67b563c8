r"""DepthMaskNet, the baseline: two stems, one dilated encoder, two pixel-shuffle decoders.

    background -> stem \
                        concatenate -> fuse -> encoder, 4 blocks -> decoder, 4 blocks -> head -> mask logits
    image      -> stem /                                        \-> decoder, 4 blocks -> head -> raw depth

With the defaults it is the published network: 5,230,720 parameters, no biases. The decoders' upsampling methods are in
`upsampling`.
"""

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from dmx.models.inputs import Inputs, needs_background, second_picture
from dmx.models.joint import EncoderDecoder
from dmx.models.upsampling import Mode, Upsampling, upsampler
from dmx.registry import Choice, models


def conv(channels_in: int, channels_out: int, kernel: int, dilation: int = 1) -> nn.Conv2d:
    """A convolution without bias that keeps height and width."""
    padding = dilation * (kernel // 2)
    return nn.Conv2d(channels_in, channels_out, kernel, padding=padding, dilation=dilation, bias=False)


def stem(width: int) -> nn.Sequential:
    """From a picture to `width` channels: 27·width + 2·width parameters."""
    return nn.Sequential(conv(3, width, 3), nn.BatchNorm2d(width), nn.ReLU())


class EncoderBlock(nn.Module):
    """From c to 2c channels by a plain and a dilated branch on the same input: 44c² + 8c parameters."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.plain = nn.Sequential(conv(c, 2 * c, 3), nn.BatchNorm2d(2 * c), nn.ReLU())
        # As published, the dilated branch normalises after its ReLU.
        self.dilated = nn.Sequential(conv(c, 2 * c, 3, dilation=2), nn.ReLU(), nn.BatchNorm2d(2 * c))
        self.halve = conv(4 * c, 2 * c, 1)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B 2*C H W"]:
        """Both branches, concatenated and downsampled by 2."""
        return self.halve(torch.cat([self.plain(x), self.dilated(x)], dim=1))  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """From 16w channels at 1/16 of the size to one channel at full size, for one task.

    Without skips each block halves the channels. With skips, the encoder's features before each pool are concatenated
    to the block's output of the same size, which then has 24w, 12w, 6w and 3w channels.
    """

    def __init__(self, width: int, upsampling: Mode, skips: bool) -> None:
        super().__init__()
        self.skips = skips
        channels_out = [8 * width, 4 * width, 2 * width, width]
        channels_on = [3 * c if skips else c for c in channels_out]
        channels_in = [16 * width, *channels_on[:-1]]
        self.blocks = nn.ModuleList(upsampler(c, d, upsampling) for c, d in zip(channels_in, channels_out, strict=True))
        self.head = conv(channels_on[-1], 1, 3)

    def forward(self, x: Float[Tensor, "B C h w"], features: list[Tensor]) -> Float[Tensor, "B 1 H W"]:
        """The task's raw output, from the encoder's last output and, with skips, its `features` before each pool."""
        for k, block in enumerate(self.blocks, start=1):
            x = torch.cat([block(x), features[-k]], dim=1) if self.skips else block(x)
        return self.head(x)  # type: ignore[no-any-return]


class DepthMaskNet(EncoderDecoder):
    """The network of the module's docstring; see `depthmasknet` for the parameters."""

    multiple = 16

    def __init__(self, width: int, inputs: Inputs, upsampling: Mode, skips: bool) -> None:
        super().__init__()
        self.inputs: Inputs = inputs
        self.needs_background = needs_background(inputs)
        self.skips = skips
        self.image_stem = stem(width)
        if self.needs_background:
            self.background_stem = stem(width)
            self.fuse = conv(2 * width, width, 1)
        self.encoder = nn.ModuleList(EncoderBlock(width * 2**k) for k in range(4))
        self.pool = nn.MaxPool2d(2)
        self.mask_decoder = Decoder(width, upsampling, skips)
        self.depth_decoder = Decoder(width, upsampling, skips)

    def encode(
        self, image: Float[Tensor, "B 3 H W"], background: Float[Tensor, "B 3 H W"] | None
    ) -> list[Float[Tensor, "B _ _ _"]]:
        """The encoder's last output, preceded, with skips, by the features before each pool, large to small.

        H and W are divisible by 16.

        Raises:
            UserError: The network takes backgrounds, but there is none.
        """
        x = self.image_stem(image)
        if self.needs_background:
            beside = self.background_stem(second_picture(image, background, self.inputs))
            x = self.fuse(torch.cat([beside, x], dim=1))
        features = []
        for block in self.encoder:
            features.append(block(x))
            x = self.pool(features[-1])
        return [*features, x] if self.skips else [x]

    def decode(self, features: list[Tensor]) -> tuple[Float[Tensor, "B 1 H W"], Float[Tensor, "B 1 H W"]]:
        """Mask logits and raw depth."""
        *before_pools, x = features
        return self.mask_decoder(x, before_pools), self.depth_decoder(x, before_pools)


@models.register("depthmasknet", source="The published baseline; upsampling: Shi et al. 2016 and later work on it")
def depthmasknet(
    *,
    width: Annotated[int, Field(ge=4, le=128), Choice(8, 16, 32)] = 32,
    inputs: Inputs = "image+background",
    upsampling: Upsampling = "pixel_shuffle",
    skips: Annotated[bool, Choice(False, True)] = False,
) -> DepthMaskNet:
    """DepthMaskNet: two stems, a dilated encoder and two pixel-shuffle decoders; 5,230,720 parameters as published.

    Args:
        width: Channels of the stems; the encoder ends with 16 times as many.
        inputs: Which pictures it looks at. `image+difference` gives the background's stem the difference image -
            background; `image` leaves out that stem and the fuse: 5,227,744 parameters.
        upsampling: `pixel_shuffle` as published, `pixel_shuffle_icnr` the same with another start,
            `pixel_shuffle_blur` that with a blur behind each shuffle, `bilinear` or `nearest` interpolation with
            convolutions: 5,752,960 parameters.
        skips: Concatenate what the encoder saw before each pool to the decoders: 5,920,000 parameters.
    """
    return DepthMaskNet(width, inputs, upsampling, skips)
