"""Encoders by name: segmentation-models-pytorch's own, and timm's as `tu-NAME`; and their pretrained weights.

The libraries are imported inside functions, because importing them from a cold disk takes 9 to 12 s.
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Annotated, Any

from pydantic import AfterValidator

from dmx.errors import did_you_mean
from dmx.models.joint import Rgb
from dmx.models.pretrained import Pretrained
from dmx.models.weights import is_path
from dmx.registry import Choice

TIMM = "tu-"
LIGHT = ("resnet18", "mobilenet_v2", "efficientnet-b0")
LIGHT_MIXED = ("mit_b0", "resnet18", "mobilenet_v2")
LIGHT_VIT = ("tu-vit_tiny_patch16_224", "tu-deit_tiny_distilled_patch16_224")
COMMON_WEIGHTS = ("none", "imagenet")


@cache
def encoders() -> dict[str, dict[str, Any]]:
    """The library's own encoders by name, without the deprecated `timm-` ones."""
    from segmentation_models_pytorch.encoders import encoders as known

    return {name: entry for name, entry in known.items() if not name.startswith("timm-")}


@cache
def timm_models() -> frozenset[str]:
    """The names of timm's models."""
    import timm

    return frozenset(timm.list_models())


@cache
def timm_tags() -> Mapping[str, list[str]]:
    """The names of pretrained weights by timm model."""
    import timm

    found: dict[str, list[str]] = {}
    for listed in timm.list_pretrained():
        name, _, tag = listed.partition(".")
        found.setdefault(name, []).append(tag)
    return found


def check_encoder(name: str) -> str:
    """Check that `name` is an encoder of the library, or `tu-` and a timm model, and return it.

    Whether an architecture supports the encoder is known only when the network is built.

    Raises:
        ValueError: There is no such encoder.
    """
    if name in (*LIGHT, *LIGHT_MIXED, *LIGHT_VIT):  # first, so that registering does not import the libraries
        return name
    if name.startswith(TIMM):
        bare, _, tag = name.removeprefix(TIMM).partition(".")
        if bare not in timm_models():
            close = [f"'{TIMM}{other}'" for other in get_close_matches(bare, sorted(timm_models()))]
            proposal = f"did you mean {' or '.join(close)}? " if close else ""
            raise ValueError(f"timm has no model '{bare}'; {proposal}timm.list_models() has all {len(timm_models())}")
        if tag:
            raise ValueError(f"'{name}' names weights too; write encoder={TIMM}{bare} and weights={tag}")
    elif name in timm_models() and name not in encoders():
        raise ValueError(f"no encoder '{name}'; timm's are written with a {TIMM} before their names: {TIMM}{name}")
    elif name not in encoders():
        raise ValueError(f"no encoder '{name}'; {did_you_mean(name, encoders())}, and timm's as {TIMM}NAME")
    return name


@cache
def weights_of(encoder: str) -> dict[str, Pretrained]:
    """The pretrained weights of an encoder by name.

    Of timm's weights only those at the hub; 19 old ones are pickles at plain URLs, which are not loaded.
    """
    if not encoder.startswith(TIMM):
        files = ("config.json", "model.safetensors")
        settings = encoders()[encoder]["pretrained_settings"]
        return {name: Pretrained(at["repo_id"], at["revision"], files, None) for name, at in settings.items()}
    import timm

    bare = encoder.removeprefix(TIMM)
    found = {}
    for tag in timm_tags().get(bare, ()):
        config = timm.get_pretrained_cfg(f"{bare}.{tag}")
        if config is not None and config.hf_hub_id:
            found[tag] = Pretrained(config.hf_hub_id, None, ("model.safetensors",), config.license)
    return found


def catalogue() -> Iterator[dict[str, str | None]]:
    """Every encoder by name, with its pretrained weights and their licences; timm's have a `tu-` before their names.

    Not every architecture supports every timm encoder; this is known only when the network is built.
    """
    for name in (*encoders(), *(f"{TIMM}{bare}" for bare in sorted(timm_models()))):
        yield {"name": name, "weights": ", ".join(weights_of(name)) or None, "licence_of_weights": licence(name)}


def colours_of(encoder: str, weights: str) -> tuple[Rgb, Rgb]:
    """Mean and standard deviation of red, green and blue in [0, 1] with which the weights were trained.

    For the library's own encoders they are stored with the weights, in the cache.
    """
    if encoder.startswith(TIMM):
        import timm

        found: Any = vars(timm.get_pretrained_cfg(f"{encoder.removeprefix(TIMM)}.{weights}"))
    else:
        from segmentation_models_pytorch.encoders import get_preprocessing_params

        found = get_preprocessing_params(encoder, weights)
    return _in_unit_range(found)


def colours_of_default(encoder: str) -> tuple[Rgb, Rgb] | None:
    """Mean and standard deviation as in `colours_of`, of timm's default weights; None if it has none."""
    if not encoder.startswith(TIMM):
        return None
    import timm

    found = timm.get_pretrained_cfg(encoder.removeprefix(TIMM))
    return None if found is None else _in_unit_range(vars(found))


def _in_unit_range(found: Mapping[str, Any]) -> tuple[Rgb, Rgb]:
    greatest = found.get("input_range", (0, 1))[1]
    mean, std = ([value / greatest for value in found[key]] for key in ("mean", "std"))
    return (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])


def check_weights(name: str) -> str:
    """Check that `name` is `none`, the weights of some encoder, or a path, and return it.

    Whether there is such a file is known only when the network is built.

    Raises:
        ValueError: No encoder has such weights.
    """
    if name in COMMON_WEIGHTS or is_path(name):
        return name
    own = {weights for entry in encoders().values() for weights in entry["pretrained_settings"]}
    tags = {tag for found in timm_tags().values() for tag in found}
    if name not in own | tags:
        raise ValueError(f"no weights '{name}'; {did_you_mean(name, {'none', *own})}, and timm's tags")
    return name


def licence(encoder: str) -> str | None:
    """The licences of an encoder's weights: `unknown` if the library does not say, None if there are no weights."""
    known = {weights.licence or "unknown" for weights in weights_of(encoder).values()}
    return ", ".join(sorted(known)) or None


Encoder = Annotated[str, AfterValidator(check_encoder), Choice(*LIGHT)]
MixedEncoder = Annotated[str, AfterValidator(check_encoder), Choice(*LIGHT_MIXED)]
VitEncoder = Annotated[str, AfterValidator(check_encoder), Choice(*LIGHT_VIT)]
Weights = Annotated[str, AfterValidator(check_weights)]
