"""A U-Net with a large receptive field at its bottleneck by dilated convolutions instead of more pools.

With D dilations d = 1, 2, 4, ..., 2^(D-1) at 1/8 of the size, the receptive field of the last stacked convolution has a
side of 1 + 2 Σ d = 2^(D+1) - 1 places, or eight times as many pixels, without a loss of detail by further pools.
"""

from typing import Annotated, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from dmx.models.blocks import UNet, conv_norm_relu
from dmx.models.inputs import AnyInputs
from dmx.models.upsampling import Upsampling
from dmx.registry import Choice, Range, models

Arrangement = Literal["stacked", "parallel"]


class DilatedBottleneck(nn.Module):
    """A plain convolution to c channels, plus the sum of the outputs of D dilated convolutions.

    With `stacked`, each dilated convolution takes the output of the one before (the context module of Yu and Koltun
    2016; we sum all outputs, as Zhou et al. 2018, "D-LinkNet", do). With `parallel`, all take the same input (the
    pyramid of Chen et al. 2017, "Rethinking atrous convolution"; ours sums instead of concatenating, and has no image
    pooling).
    """

    def __init__(self, channels_in: int, c: int, dilations: int, arrangement: Arrangement) -> None:
        super().__init__()
        self.stacked = arrangement == "stacked"
        self.plain = conv_norm_relu(channels_in, c, 3)
        self.views = nn.ModuleList(conv_norm_relu(c, c, 3, dilation=2**k) for k in range(dilations))

    def forward(self, x: Float[Tensor, "B _ h w"]) -> Float[Tensor, "B C h w"]:
        """The sum x + Σ_k view_k, where each dilated convolution takes the view before or x."""
        x = seen = total = self.plain(x)
        for view in self.views:
            seen = view(seen if self.stacked else x)
            total = total + seen
        return total  # type: ignore[no-any-return]


def double(channels_in: int, channels_out: int) -> nn.Module:
    """U-Net's two convolutions of one size."""
    return nn.Sequential(conv_norm_relu(channels_in, channels_out, 3), conv_norm_relu(channels_out, channels_out, 3))


def single(channels_in: int, channels_out: int) -> nn.Module:
    """One convolution, for the two decoders, to keep them light."""
    return conv_norm_relu(channels_in, channels_out, 3)


@models.register(
    "dilated_unet", source="Ronneberger et al. 2015 with the context of Yu and Koltun 2016 or Chen et al. 2017"
)
def dilated_unet(
    *,
    width: Annotated[int, Field(ge=4, le=128), Choice(8, 16, 24, 32)] = 24,
    dilations: Annotated[int, Field(ge=1, le=6), Range(2, 5)] = 4,
    arrangement: Annotated[Arrangement, Choice("stacked", "parallel")] = "stacked",
    inputs: AnyInputs = "image+background",
    upsampling: Upsampling = "bilinear",
) -> UNet:
    """Dilated U-Net: three pools, a bottleneck that sees far by dilated convolutions, two decoders.

    Args:
        width: Channels at full size; at a half, a quarter and an eighth two, four and eight times as many.
        dilations: How many dilated convolutions the bottleneck has, with dilations 1, 2, 4, ...
        arrangement: Each of them behind the one before, `stacked`, or all side by side, `parallel`.
        inputs: Which pictures it looks at, stacked along the channels or with a stem each.
        upsampling: How the decoders double height and width.
    """
    channels = [width * 2**k for k in range(4)]
    bottleneck = DilatedBottleneck(channels[-2], channels[-1], dilations, arrangement)
    return UNet(channels, inputs, upsampling, double, bottleneck, single)
