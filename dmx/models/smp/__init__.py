"""The architectures of segmentation-models-pytorch, each with any of its encoders and timm's, in three joint forms.

Each is a function of an encoder and of `SETTINGS`: `unet`, `unetplusplus`, `manet`, `linknet`, `fpn`, `pspnet`,
`deeplabv3`, `deeplabv3plus`, `pan`, `upernet`, `segformer`, `dpt`. `dmx describe models NAME` tells all about one.
Their common network is in `network`, the names of encoders and weights are in `encoders`.
"""

from collections.abc import Callable
from typing import Annotated, Any

from dmx.models.inputs import AnyInputs
from dmx.models.smp.building import build
from dmx.models.smp.encoders import Encoder, MixedEncoder, VitEncoder, Weights, licence
from dmx.models.smp.network import Architecture, Form, SmpNet
from dmx.registry import Choice, Params, Setting, described, models

SETTINGS = {
    "form": Setting(
        Annotated[Form, Choice("shared", "two_decoders", "cross_stitch")],
        "shared",
        """What mask and depth share: `shared` the encoder and the decoder, with a head for each; `two_decoders` the
        encoder; `cross_stitch` the encoder, and what the two decoders give is mixed, channel by channel, by learned
        weights (Misra et al. 2016).""",
    ),
    "inputs": Setting(
        AnyInputs,
        "image+background",
        """Which pictures it looks at: `image`; along the channels `image+background` or `image+difference`, which
        is image - background; or `two_stems`, a convolution of image and background each before that.""",
    ),
    "weights": Setting(
        Weights,
        "none",
        """Weights that the encoder starts from, by the library's names, as `imagenet`, or timm's, as `a1_in1k`; or
        a file, safetensors or torch's, with a slash in its path or `.safetensors`, `.pth`, `.pt` or `.bin` at its end.
        For other than three channels its first convolution is repeated and rescaled.""",
    ),
    "details": Setting(
        bool,
        False,
        """Whether the heads also see a convolution of the pictures at full size. Encoders begin at a half or a
        quarter of it, so that edges of mask and depth are soft without.""",
    ),
}
"""The parameters that all architectures have beside the encoder."""
ERRORS = """
Raises:
    UserError: The architecture does not take the encoder, or the weights cannot be had; or, in training, a batch is
        smaller than the architecture's `least_batch`.
"""
DILATED = "an encoder whose strides can be replaced by dilation (no VGG, DenseNet, Inception, Xception or transformer)"
NO_MIXED = "an encoder with features at a half, a quarter, ..., a 32nd of the size (no Mix Transformer)"
PATCHES = "a vision transformer of timm with patches of 8, 14, 16 or 32 pixels and positions for any size"
GRIDS = "it pools over a grid of places, and ONNX has no such pooling where the size is free"


def row(
    name: str, paper: str, architecture: Architecture, summary: str, encoders: Any = Encoder, fixed_size: str = ""
) -> Callable[..., SmpNet]:
    """Register an architecture; `fixed_size` says why it is exported at a fixed size only, where it is."""

    def network(**given: Any) -> SmpNet:
        return build(architecture, **{"encoder": architecture.instead, **defaults, **given})

    defaults = {key: setting.default for key, setting in SETTINGS.items()}
    what = "An encoder of segmentation-models-pytorch, or `tu-` and the name of a model of timm."
    settings = {"encoder": Setting(encoders, architecture.instead, what), **SETTINGS}
    return models.register(
        name,
        source=f"{paper}; segmentation-models-pytorch",
        least_batch=architecture.least_batch,
        licence=licence_of_weights,
        fixed_size=fixed_size,
    )(described(network, name, summary, settings, ERRORS))


def licence_of_weights(params: Params) -> str | None:
    """The licences of the weights of a network's encoder."""
    return licence(getattr(params, "encoder"))  # noqa: B009  (each component has a `Params` of its own)


unet = row(
    "unet",
    "Ronneberger et al. 2015",
    Architecture("Unet"),
    "U-Net: a decoder that sees every scale of the encoder beside its own, block by block.",
)
unetplusplus = row(
    "unetplusplus",
    "Zhou et al. 2018",
    Architecture("UnetPlusPlus", NO_MIXED),
    "U-Net++: between encoder and decoder a triangle of blocks, each fed by all before it of its scale.",
)
manet = row(
    "manet",
    "Fan et al. 2020",
    Architecture("MAnet"),
    "MA-Net: a U-Net with attention between places at the bottom and between channels at every skip.",
)
linknet = row(
    "linknet",
    "Chaurasia and Culurciello 2017",
    Architecture("Linknet", NO_MIXED),
    "LinkNet: a narrow decoder to which the encoder's scales are added; light.",
)
fpn = row(
    "fpn",
    "Kirillov et al. 2019 (panoptic FPN)",
    Architecture("FPN"),
    "Feature pyramid: scales are handed down from deep to shallow, each upsampled to a quarter, and summed up.",
)
pspnet = row(
    "pspnet",
    "Zhao et al. 2017",
    Architecture("PSPNet"),
    "PSPNet: the encoder's features at an eighth, pooled over grids of 1, 2, 3 and 6 places; no detail below that.",
    fixed_size=GRIDS,
)
deeplabv3 = row(
    "deeplabv3",
    "Chen et al. 2017",
    Architecture("DeepLabV3", DILATED, least_batch=2),
    "DeepLabV3: a dilated encoder at an eighth of the size, seen through several dilations; two pictures a batch.",
)
deeplabv3plus = row(
    "deeplabv3plus",
    "Chen et al. 2018",
    Architecture("DeepLabV3Plus", DILATED, least_batch=2),
    "DeepLabV3+: DeepLabV3 at a 16th, with the encoder's quarter beside it; two pictures a batch.",
)
pan = row(
    "pan",
    "Li et al. 2018",
    Architecture("PAN", DILATED, least=128, least_batch=2),
    "PAN: attention by a pyramid at the bottom, and by what is deeper at every skip; two pictures a batch.",
)
upernet = row(
    "upernet",
    "Xiao et al. 2018",
    Architecture("UPerNet", least_batch=2),
    "UPerNet: a feature pyramid on top of PSPNet's pooling, all scales concatenated; two pictures a batch.",
    fixed_size=GRIDS,
)
segformer = row(
    "segformer",
    "Xie et al. 2021",
    Architecture("Segformer", instead="mit_b0"),
    "SegFormer: one linear layer for each scale, brought to a quarter and concatenated; made for Mix Transformers.",
    MixedEncoder,
)
dpt = row(
    "dpt",
    "Ranftl et al. 2021",
    Architecture(
        "DPT",
        PATCHES,
        "tu-vit_tiny_patch16_224",
        multiple=32,
        tokens=True,
        arguments={"dynamic_img_size": True, "num_classes": 0},
    ),
    "DPT: a vision transformer's tokens, reassembled at four scales and fused from deep to shallow.",
    VitEncoder,
)
