"""FastDepth: a light real-time network of depthwise-separable convolutions and nearest-neighbour upsampling.

Source: Wofk et al. 2019, "FastDepth: fast monocular depth estimation on embedded systems": MobileNet as the encoder, a
decoder of five 5x5 separable convolutions, each followed by nearest-neighbour upsampling, with additive skips at 1/2,
1/4 and 1/8 of the size. Ours has a decoder for each task, and is made light by its width (24 instead of MobileNet's 32)
and not by pruning. As published, the pointwise head follows the last upsampling, so that the outputs consist of 2x2
blocks of equal pixels.
"""

from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from dmx.models.blocks import TwoDecoders, conv_norm_relu, separable
from dmx.models.inputs import AnyInputs
from dmx.registry import Choice, models

# MobileNet's separable convolutions by size, from 1/2 to 1/32: (channels relative to the stem's, stride)
STAGES = (((2, 1),), ((4, 2), (4, 1)), ((8, 2), (8, 1)), ((16, 2), *((16, 1),) * 5), ((32, 2), (32, 1)))


class MobileEncoder(nn.Module):
    """MobileNet without its classifier: a stem that halves the size, and thirteen separable convolutions."""

    def __init__(self, pictures: int, width: int) -> None:
        super().__init__()
        self.stem = conv_norm_relu(pictures, width, 3, stride=2)
        self.stages = nn.ModuleList()
        c = width
        for stage in STAGES:
            layers: list[nn.Module] = []
            for factor, stride in stage:
                layers += separable(c, factor * width, 3, stride)
                c = factor * width
            self.stages.append(nn.Sequential(*layers))

    def forward(self, x: Float[Tensor, "B C H W"]) -> list[Float[Tensor, "B _ _ _"]]:
        """The features at 1/2, 1/4, 1/8 and 1/32 of the size."""
        x = self.stem(x)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        half, quarter, eighth, _, last = features
        return [half, quarter, eighth, last]


class FastDecoder(nn.Module):
    """From 32w channels at 1/32 of the size to one channel at full size, for one task."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            separable(2 * c, c, 5) for c in (16 * width, 8 * width, 4 * width, 2 * width, width)
        )
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, features: list[Tensor]) -> Float[Tensor, "B 1 H W"]:
        """The task's raw output: x <- up(block(x)) + the encoder's feature of that size, if there is one."""
        half, quarter, eighth, x = features
        for block, feature in zip(self.blocks, (None, eighth, quarter, half, None), strict=True):
            x = self.up(block(x))
            x = x if feature is None else x + feature
        return self.head(x)  # type: ignore[no-any-return]


class FastDepth(TwoDecoders):
    """The network of the module's docstring; see `fastdepth` for the parameters."""

    multiple = 32
    least = 64  # so that the last batch norms see more than one value per channel, even in a batch of one

    def __init__(self, width: int, inputs: AnyInputs) -> None:
        super().__init__(inputs)
        self.encoder = MobileEncoder(self.pictures.channels, width)
        self.mask_decoder = FastDecoder(width)
        self.depth_decoder = FastDecoder(width)


@models.register("fastdepth", source="Wofk et al. 2019; its encoder: Howard et al. 2017")
def fastdepth(
    *,
    width: Annotated[int, Field(ge=4, le=64), Choice(8, 16, 24, 32)] = 24,
    inputs: AnyInputs = "image+background",
) -> FastDepth:
    """FastDepth: a light network of separable convolutions, additive skips and nearest neighbours, for real time.

    Args:
        width: Channels of the stem at half the size; the encoder ends with 32 times as many. MobileNet has 32.
        inputs: Which pictures it looks at, stacked along the channels or with a stem each.
    """
    return FastDepth(width, inputs)
