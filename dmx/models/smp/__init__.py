"""The architectures of segmentation-models-pytorch, each with any of its encoders and timm's, in three joint forms.

Their common network is in `network`, the names of encoders and weights are in `encoders`, and their parameters are
described once, in `PARAMETERS`.
"""

from collections.abc import Callable
from typing import Annotated, ParamSpec

from dmx.models.inputs import AnyInputs
from dmx.models.smp.building import build
from dmx.models.smp.encoders import Encoder, MixedEncoder, VitEncoder, Weights, licence
from dmx.models.smp.network import Architecture, Form, SmpNet
from dmx.registry import Choice, Params, models

P = ParamSpec("P")

PARAMETERS = """

Args:
    encoder: An encoder of segmentation-models-pytorch, or `tu-` and the name of a model of timm.
    form: What mask and depth share: `shared` the encoder and the decoder, with a head for each; `two_decoders` the
        encoder; `cross_stitch` the encoder, and what the two decoders give is mixed, channel by channel, by learned
        weights (Misra et al. 2016).
    inputs: Which pictures it looks at: `image`; along the channels `image+background` or `image+difference`, which
        is image - background; or `two_stems`, a convolution of image and background each before that.
    weights: Weights that the encoder starts from, by the library's names, as `imagenet`, or timm's, as `a1_in1k`; or
        a file, safetensors or torch's, with a slash in its path or `.safetensors`, `.pth`, `.pt` or `.bin` at its end.
        For other than three channels its first convolution is repeated and rescaled.
    details: Whether the heads also see a convolution of the pictures at full size. Encoders begin at a half or a
        quarter of it, so that edges of mask and depth are soft without.

Raises:
    UserError: The architecture does not take the encoder, or the weights cannot be had; or, in training, a batch is
        smaller than the architecture's `least_batch`.
"""

AnyForm = Annotated[Form, Choice("shared", "two_decoders", "cross_stitch")]
DILATED = "an encoder whose strides can be replaced by dilation (no VGG, DenseNet, Inception, Xception or transformer)"
NO_MIXED = "an encoder with features at a half, a quarter, ..., a 32nd of the size (no Mix Transformer)"


GRIDS = "it pools over a grid of places, and ONNX has no such pooling where the size is free"


def register(
    name: str, source: str, least_batch: int = 1, fixed_size: str = ""
) -> Callable[[Callable[P, SmpNet]], Callable[P, SmpNet]]:
    """Register an architecture, with the common parameters appended to its docstring.

    `fixed_size` says why it is exported at a fixed size only, where it is.
    """

    def take(function: Callable[P, SmpNet]) -> Callable[P, SmpNet]:
        function.__doc__ = f"{function.__doc__}{PARAMETERS}"
        named = f"{source}; segmentation-models-pytorch"
        facts = {"least_batch": least_batch, "licence": licence_of_weights, "fixed_size": fixed_size}
        return models.register(name, source=named, **facts)(function)

    return take


def licence_of_weights(params: Params) -> str | None:
    """The licences of the weights of a network's encoder."""
    return licence(getattr(params, "encoder"))  # noqa: B009  (each component has a `Params` of its own)


@register("unet", "Ronneberger et al. 2015")
def unet(
    *,
    encoder: Encoder = "resnet18",
    form: AnyForm = "shared",
    inputs: AnyInputs = "image+background",
    weights: Weights = "none",
    details: bool = False,
) -> SmpNet:
    """U-Net: a decoder that sees every scale of the encoder beside its own, block by block."""
    return build(Architecture("Unet"), encoder, form, inputs, weights, details)


@register("unetplusplus", "Zhou et al. 2018")
def unetplusplus(
    *,
    encoder: Encoder = "resnet18",
    form: AnyForm = "shared",
    inputs: AnyInputs = "image+background",
    weights: Weights = "none",
    details: bool = False,
) -> SmpNet:
    """U-Net++: between encoder and decoder a triangle of blocks, each fed by all before it of its scale."""
    return build(Architecture("UnetPlusPlus", NO_MIXED), encoder, form, inputs, weights, details)


@register("manet", "Fan et al. 2020")
def manet(
    *,
    encoder: Encoder = "resnet18",
    form: AnyForm = "shared",
    inputs: AnyInputs = "image+background",
    weights: Weights = "none",
    details: bool = False,
) -> SmpNet:
    """MA-Net: a U-Net with attention between places at the bottom and between channels at every skip."""
    return build(Architecture("MAnet"), encoder, form, inputs, weights, details)


@register("linknet", "Chaurasia and Culurciello 2017")
def linknet(
    *,
    encoder: Encoder = "resnet18",
    form: AnyForm = "shared",
    inputs: AnyInputs = "image+background",
    weights: Weights = "none",
    details: bool = False,
) -> SmpNet:
    """LinkNet: a narrow decoder to which the encoder's scales are added; light."""
    return build(Architecture("Linknet", NO_MIXED), encoder, form, inputs, weights, details)


@register("fpn", "Kirillov et al. 2019 (panoptic FPN)")
def fpn(
    *,
    encoder: Encoder = "resnet18",
    form: AnyForm = "shared",
    inputs: AnyInputs = "image+background",
    weights: Weights = "none",
    details: bool = False,
) -> SmpNet:
    """Feature pyramid: scales are handed down from deep to shallow, each upsampled to a quarter, and summed up."""
    return build(Architecture("FPN"), encoder, form, inputs, weights, details)


@register("pspnet", "Zhao et al. 2017", fixed_size=GRIDS)
def pspnet(
    *,
    encoder: Encoder = "resnet18",
    form: AnyForm = "shared",
    inputs: AnyInputs = "image+background",
    weights: Weights = "none",
    details: bool = False,
) -> SmpNet:
    """PSPNet: the encoder's features at an eighth, pooled over grids of 1, 2, 3 and 6 places; no detail below that."""
    return build(Architecture("PSPNet"), encoder, form, inputs, weights, details)


@register("deeplabv3", "Chen et al. 2017", least_batch=2)
def deeplabv3(
    *,
    encoder: Encoder = "resnet18",
    form: AnyForm = "shared",
    inputs: AnyInputs = "image+background",
    weights: Weights = "none",
    details: bool = False,
) -> SmpNet:
    """DeepLabV3: a dilated encoder at an eighth of the size, seen through several dilations; two pictures a batch."""
    return build(Architecture("DeepLabV3", DILATED, least_batch=2), encoder, form, inputs, weights, details)


@register("deeplabv3plus", "Chen et al. 2018", least_batch=2)
def deeplabv3plus(
    *,
    encoder: Encoder = "resnet18",
    form: AnyForm = "shared",
    inputs: AnyInputs = "image+background",
    weights: Weights = "none",
    details: bool = False,
) -> SmpNet:
    """DeepLabV3+: DeepLabV3 at a 16th, with the encoder's quarter beside it; two pictures a batch."""
    return build(Architecture("DeepLabV3Plus", DILATED, least_batch=2), encoder, form, inputs, weights, details)


@register("pan", "Li et al. 2018", least_batch=2)
def pan(
    *,
    encoder: Encoder = "resnet18",
    form: AnyForm = "shared",
    inputs: AnyInputs = "image+background",
    weights: Weights = "none",
    details: bool = False,
) -> SmpNet:
    """PAN: attention by a pyramid at the bottom, and by what is deeper at every skip; two pictures a batch."""
    return build(Architecture("PAN", DILATED, least=128, least_batch=2), encoder, form, inputs, weights, details)


@register("upernet", "Xiao et al. 2018", least_batch=2, fixed_size=GRIDS)
def upernet(
    *,
    encoder: Encoder = "resnet18",
    form: AnyForm = "shared",
    inputs: AnyInputs = "image+background",
    weights: Weights = "none",
    details: bool = False,
) -> SmpNet:
    """UPerNet: a feature pyramid on top of PSPNet's pooling, all scales concatenated; two pictures a batch."""
    return build(Architecture("UPerNet", least_batch=2), encoder, form, inputs, weights, details)


@register("segformer", "Xie et al. 2021")
def segformer(
    *,
    encoder: MixedEncoder = "mit_b0",
    form: AnyForm = "shared",
    inputs: AnyInputs = "image+background",
    weights: Weights = "none",
    details: bool = False,
) -> SmpNet:
    """SegFormer: one linear layer for each scale, brought to a quarter and concatenated; made for Mix Transformers."""
    return build(Architecture("Segformer", instead="mit_b0"), encoder, form, inputs, weights, details)


@register("dpt", "Ranftl et al. 2021")
def dpt(
    *,
    encoder: VitEncoder = "tu-vit_tiny_patch16_224",
    form: AnyForm = "shared",
    inputs: AnyInputs = "image+background",
    weights: Weights = "none",
    details: bool = False,
) -> SmpNet:
    """DPT: a vision transformer's tokens, reassembled at four scales and fused from deep to shallow."""
    return build(
        Architecture(
            "DPT",
            "a vision transformer of timm with patches of 8, 14, 16 or 32 pixels and positions for any size",
            "tu-vit_tiny_patch16_224",
            multiple=32,
            tokens=True,
            arguments={"dynamic_img_size": True, "num_classes": 0},
        ),
        encoder,
        form,
        inputs,
        weights,
        details,
    )
