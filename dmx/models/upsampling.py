"""Upsampling by 2, with and without checkerboard artifacts.

A convolution before a pixel shuffle computes each pixel of a 2x2 block with its own filters. Unless these agree, even a
constant input gives a pattern of period 2, and of period 4, 8, ... after further shuffles. The available methods:

| name               | what                                                            | parameters       |
|--------------------|-----------------------------------------------------------------|------------------|
| pixel_shuffle      | pointwise convolution, shuffle                                  | 4 c_in c_out     |
| pixel_shuffle_icnr | the same, which starts as nearest-neighbour upsampling          | 4 c_in c_out     |
| pixel_shuffle_blur | the same with a blur behind it, which starts as bilinear        | 4 c_in c_out     |
| bilinear           | pointwise convolution, bilinear interpolation, 3x3 convolution  | c_in c_out + 9c² |
| nearest            | pointwise convolution, nearest neighbour, 3x3 convolution       | c_in c_out + 9c² |

with c = c_out. Odena et al. interpolate first and then convolve. So do we with the 3x3 convolution: it computes all
pixels by the same filter, and without it nearest-neighbour upsampling would leave blocks. The pointwise convolution
comes first, because it commutes with interpolation and takes a quarter of the multiply-adds at the smaller size.

Sources: Shi et al. 2016, "Real-time single image and video super-resolution using an efficient sub-pixel convolutional
neural network"; Aitken et al. 2017, "Checkerboard artifact free sub-pixel convolution"; Sugawara et al. 2018,
"Super-resolution using convolutional neural networks without any checkerboard artifacts"; Odena et al. 2016,
"Deconvolution and checkerboard artifacts".
"""

from typing import Annotated, Literal, assert_never

import torch
from torch import nn

from dmx.registry import Choice

Mode = Literal["pixel_shuffle", "pixel_shuffle_icnr", "pixel_shuffle_blur", "bilinear", "nearest"]

Upsampling = Annotated[Mode, Choice("pixel_shuffle", "pixel_shuffle_icnr", "pixel_shuffle_blur", "bilinear", "nearest")]


def upsampler(channels_in: int, channels_out: int, upsampling: Mode) -> nn.Sequential:
    """Create the module from (B, c_in, H, W) to (B, c_out, 2H, 2W) for a mode, without biases."""
    match upsampling:
        case "pixel_shuffle" | "pixel_shuffle_icnr" | "pixel_shuffle_blur":
            pointwise = nn.Conv2d(channels_in, 4 * channels_out, 1, bias=False)
            if upsampling != "pixel_shuffle":
                icnr(pointwise)
            after = blur() if upsampling == "pixel_shuffle_blur" else ()
            return nn.Sequential(pointwise, nn.PixelShuffle(2), *after)
        case "bilinear" | "nearest":
            return nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, bias=False),
                nn.Upsample(scale_factor=2, mode=upsampling),
                nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False),
            )
        case _:
            assert_never(upsampling)


@torch.no_grad()
def icnr(pointwise: nn.Conv2d) -> None:
    """Initialise a convolution before a pixel shuffle by 2 as nearest-neighbour upsampling, free of checkerboards.

    The four channels that form one 2x2 block get the same weights. Source: Aitken et al. 2017.
    """
    pointwise.weight.copy_(pointwise.weight[::4].repeat_interleave(4, dim=0))


def blur() -> tuple[nn.Module, nn.Module]:
    """A blur that removes patterns of period 2: 2x2 means, applied twice, which are 3x3 binomial weights.

    Source: the 2x2 zero-order hold behind the last layer of Sugawara et al. 2018. Ours is applied twice, to avoid a
    shift by half a pixel, with replicate padding. After nearest-neighbour upsampling, which is the initial state of
    `icnr`, it gives bilinear interpolation.
    """
    return nn.AvgPool2d(2, stride=1, padding=1, count_include_pad=False), nn.AvgPool2d(2, stride=1)
