"""A U-Net with large receptive fields by depthwise convolutions with kernels of 7x7 up to 31x31.

A depthwise k x k kernel takes k² parameters per channel, a standard one k² c. An alternative to depthwise kernels is
to factorise them into k x 1 and 1 x k (Peng et al. 2017, "Large kernel matters"), which is not done here.
"""

from typing import Annotated, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from dmx.models.blocks import UNet, conv_norm, conv_norm_relu
from dmx.models.inputs import AnyInputs
from dmx.models.upsampling import Upsampling
from dmx.registry import Choice, models

Kernel = Literal[3, 5, 7, 9, 11, 13, 17, 21, 25, 31]

WIDER = 4


class LargeKernelBlock(nn.Module):
    """A large depthwise convolution, then a two-layer MLP for each pixel: k² c + 8c² + 8c parameters.

        y = x + norm(W₂ gelu(W₁ norm(K * x)))       K: depthwise k x k; W₁: from c to 4c channels, W₂: back

    Source: Liu et al. 2022, "A ConvNet for the 2020s", section 2.6, with the batch norms and the kernels beyond 7 of
    Ding et al. 2022, "Scaling up your kernels to 31x31". Ours has no small kernel parallel to the large one, and has
    the second norm in place of a learned scale of the branch.
    """

    def __init__(self, c: int, kernel: Kernel) -> None:
        super().__init__()
        self.look = conv_norm(c, c, kernel, groups=c)
        self.think = nn.Sequential(nn.Conv2d(c, WIDER * c, 1), nn.GELU(), *conv_norm(WIDER * c, c, 1))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """The equation of the class."""
        return x + self.think(self.look(x))  # type: ignore[no-any-return]


@models.register(
    "large_kernel_unet", source="Ronneberger et al. 2015 with blocks of Liu et al. 2022 and Ding et al. 2022"
)
def large_kernel_unet(
    *,
    width: Annotated[int, Field(ge=4, le=128), Choice(8, 16, 24, 32)] = 24,
    kernel: Annotated[Kernel, Choice(7, 13, 21, 31)] = 13,
    inputs: AnyInputs = "image+background",
    upsampling: Upsampling = "bilinear",
) -> UNet:
    """Large-kernel U-Net: four pools, depthwise convolutions with large kernels at every size, two decoders.

    Args:
        width: Channels at full size; they double with each pool, to 16 times as many.
        kernel: Height and width of the depthwise convolutions.
        inputs: Which pictures it looks at, stacked along the channels or with a stem each.
        upsampling: How the decoders double height and width.
    """

    def down(channels_in: int, channels_out: int) -> nn.Module:
        return nn.Sequential(conv_norm_relu(channels_in, channels_out, 3), LargeKernelBlock(channels_out, kernel))

    def up(channels_in: int, channels_out: int) -> nn.Module:
        return nn.Sequential(conv_norm_relu(channels_in, channels_out, 1), LargeKernelBlock(channels_out, kernel))

    channels = [width * 2**k for k in range(5)]
    return UNet(channels, inputs, upsampling, down, down(channels[-2], channels[-1]), up)
