"""An encoder's weights from a local file, by the names that timm, torchvision or segmentation-models-pytorch give.

segmentation-models-pytorch wraps timm's models: their names get a `model.` or `model.body.` before them, the first dot
of some becomes an underscore (`stages.0.` is `stages_0.`), and layers that give no features are left out. A file may
have the names of either library. A first convolution of three channels is repeated and rescaled for more, as both
libraries do.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from dmx.models.joint import IMAGENET, Rgb
from dmx.models.smp.encoders import TIMM, colours_of_default
from dmx.models.weights import compare, read_state, shapes_of, without_prefixes

CLASSIFIERS = ("fc", "_fc", "classifier", "head", "head_dist", "last_linear", "linear", "output")
"""The first part of the names of classifiers, which encoders leave out."""
LITE = f"{TIMM}tf_efficientnet_lite"
RGB = 3


def load_encoder(encoder: nn.Module, name: str, path: Path, channels: int) -> None:
    """Load the weights in `path` into `encoder`, the module of the encoder `name` for `channels` input channels.

    Raises:
        UserError: The file cannot be read, or does not fit; the encoder is unchanged.
    """
    whole = timm_shapes(name)
    state = without_prefixes(read_state(path), is_classifier)
    if name.startswith(LITE):
        state = as_timm_names(state, whole)
    state = full_names(state, whole)
    target = encoder.state_dict()
    names = dict(zip(full_names(target, whole), target, strict=True))
    shapes = shapes_of(encoder)
    wanted = {short: shapes[long] for short, long in names.items()}
    state = {key: widened(value, wanted.get(key), channels) for key, value in state.items()}
    left_out = without_prefixes(whole, is_classifier)
    fit = compare(wanted, state, lambda key: is_classifier(key) or key in left_out)
    fit.require(path, f"encoder '{name}'", "Take weights of this encoder, or name the encoder that they are of.")
    nn.Module.load_state_dict(encoder, target | {long: state[short] for short, long in names.items() if short in state})


def is_classifier(name: str) -> bool:
    """Whether a tensor of this name belongs to a classifier."""
    return name.partition(".")[0] in CLASSIFIERS


def timm_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """The shapes of timm's whole model, with the layers that give no features, by name; empty for other encoders."""
    if not name.startswith(TIMM):
        return {}
    import timm

    with torch.device("meta"):
        return shapes_of(timm.create_model(name.removeprefix(TIMM)))


def full_names(state: Mapping[str, Tensor], whole: Mapping[str, object]) -> dict[str, Tensor]:
    """Rename what segmentation-models-pytorch names `stages_0.` to timm's `stages.0.`, all without shared prefixes."""
    flat = {name.replace(".", "_", 1): name for name in whole}
    found = {flat.get(name, name): value for name, value in without_prefixes(state, is_classifier).items()}
    return without_prefixes(found, is_classifier)  # again: TResNet's own names begin with `body.`


def as_timm_names(state: dict[str, Tensor], whole: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Rename the tensors of lukemelas' EfficientNet-Lite to timm's names, which has the same in the same order.

    Nothing is renamed unless all agree in shape and in the last part of the name, as `running_mean`.
    """
    if "_conv_stem.weight" not in state:
        return state
    pairs = list(zip(state.items(), whole.items(), strict=False))
    same = all(a.rpartition(".")[2] == b.rpartition(".")[2] and x.shape == y for (a, x), (b, y) in pairs)
    rest = list(whole)[len(state) :]
    if not same or len(state) > len(whole) or not all(map(is_classifier, rest)):
        return state
    return {name: value for (_, value), (name, _) in pairs}


def widened(weight: Tensor, shape: tuple[int, ...] | None, channels: int) -> Tensor:
    """Repeat a first convolution of three channels for `channels` and rescale it, by timm; return any other as it is.

    W'_c = W_(c mod 3) · 3 / channels, so that equal pictures give the same as one.
    """
    from timm.models import adapt_input_conv

    if shape is None or weight.ndim != 4 or len(shape) != 4 or weight.shape[1] == shape[1]:
        return weight
    if weight.shape[1] % RGB or weight.shape[1] * channels != shape[1] * RGB:
        return weight
    # Of TResNet, which makes 4x4 pixels one, the channels of each of the 16 follow each other: each is repeated.
    adapted: Tensor = adapt_input_conv(channels, weight.reshape(-1, RGB, *shape[2:])).reshape(shape)
    return adapted


def colours_of_file(encoder: str) -> tuple[Rgb, Rgb]:
    """Mean and standard deviation for a local file: those of timm's default weights, else ImageNet's.

    segmentation-models-pytorch keeps those of its own encoders at the hub only.
    """
    return colours_of_default(encoder) or IMAGENET
