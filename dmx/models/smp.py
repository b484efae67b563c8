"""Unet and FPN of segmentation-models-pytorch: one encoder, one decoder, a head of two channels.

The head's two channels are two one-channel heads on the shared decoder: its filters do not mix, the first is the
mask's and the second is the depth's.

The library is imported where it is used, not above: through timm that takes 9 to 12 s from a cold disk.
"""

from functools import cache
from typing import Annotated, Any, Literal

from jaxtyping import Float
from pydantic import AfterValidator
from torch import Tensor

from dmx.errors import did_you_mean
from dmx.models.inputs import Inputs, stack_inputs
from dmx.models.joint import JointNet
from dmx.models.pretrained import require_weights
from dmx.registry import Choice, models

LIGHT = ("resnet18", "mobilenet_v2", "efficientnet-b0")

Weights = Literal["none", "imagenet"]


@cache
def encoders() -> dict[str, dict[str, Any]]:
    """The library's encoders by name, without the `timm-` ones, which it has deprecated."""
    from segmentation_models_pytorch.encoders import encoders as known

    return {name: entry for name, entry in known.items() if not name.startswith("timm-")}


def check_encoder(name: str) -> str:
    """`name`, which must be an encoder of the library.

    Raises:
        ValueError: It is none.
    """
    if name not in LIGHT and name not in encoders():  # LIGHT first, so that registering does not import the library
        raise ValueError(f"no encoder '{name}'; {did_you_mean(name, encoders())}")
    return name


Encoder = Annotated[str, AfterValidator(check_encoder), Choice(*LIGHT)]


class SmpNet(JointNet):
    """An architecture of segmentation-models-pytorch as a joint network."""

    def __init__(self, architecture: str, encoder: str, inputs: Inputs, weights: Weights) -> None:
        super().__init__()
        import segmentation_models_pytorch

        self.inputs: Inputs = inputs
        self.needs_background = inputs == "image+background"
        self.net = getattr(segmentation_models_pytorch, architecture)(
            encoder_name=encoder,
            encoder_weights=None if weights == "none" else weights,
            in_channels=6 if self.needs_background else 3,
            classes=2,
        )
        self.multiple = self.net.encoder.output_stride if self.net.requires_divisible_input_shape else 1

    def forward(
        self, image: Float[Tensor, "B 3 H W"], background: Float[Tensor, "B 3 H W"] | None
    ) -> tuple[Float[Tensor, "B 1 H W"], Float[Tensor, "B 1 H W"]]:
        """Mask logits and raw depth.

        Raises:
            UserError: The network takes backgrounds, but there is none.
        """
        mask_logits, depth_raw = self.net(stack_inputs(image, background, self.inputs)).split(1, dim=1)
        return mask_logits, depth_raw


def build(architecture: str, encoder: str, inputs: Inputs, weights: Weights) -> SmpNet:
    """The network; pretrained weights are looked for before anything else is done."""
    if weights != "none":
        require_weights(encoder, weights, encoders()[encoder]["pretrained_settings"])
    return SmpNet(architecture, encoder, inputs, weights)


@models.register("unet", source="Ronneberger et al. 2015, as in segmentation-models-pytorch")
def unet(*, encoder: Encoder = "resnet18", inputs: Inputs = "image+background", weights: Weights = "none") -> SmpNet:
    """U-Net: an encoder by name and a decoder that sees every scale of it; one decoder, two heads.

    Args:
        encoder: An encoder of segmentation-models-pytorch.
        inputs: Which pictures it looks at, stacked along the channels.
        weights: `imagenet` starts the encoder from weights learned on ImageNet; its first convolution is repeated and
            rescaled for six channels.

    Raises:
        UserError: The pretrained weights cannot be had.
    """
    return build("Unet", encoder, inputs, weights)


@models.register("fpn", source="Kirillov et al. 2019 (panoptic FPN), as in segmentation-models-pytorch")
def fpn(*, encoder: Encoder = "resnet18", inputs: Inputs = "image+background", weights: Weights = "none") -> SmpNet:
    """Feature pyramid: an encoder by name and a pyramid that sums up its scales; one decoder, two heads.

    Args:
        encoder: An encoder of segmentation-models-pytorch.
        inputs: Which pictures it looks at, stacked along the channels.
        weights: `imagenet` starts the encoder from weights learned on ImageNet; its first convolution is repeated and
            rescaled for six channels.

    Raises:
        UserError: The pretrained weights cannot be had.
    """
    return build("FPN", encoder, inputs, weights)
