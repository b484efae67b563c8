"""Configurations of Depth Anything by size, and its checkpoints in Hugging Face's form, from local folders only.

The library transformers is imported inside functions: it is an extra, and importing it takes seconds.
"""

import importlib
import json
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator
from safetensors import SafetensorError
from torch import nn

from dmx.errors import UserError
from dmx.models.joint import IMAGENET, Rgb
from dmx.registry import Params
from dmx.written import place

NONE = "none"


def check_checkpoint(name: str) -> str:
    """Check that `name` is `none` or has the form of a folder's path, and return it.

    Raises:
        ValueError: It is neither. Whether the folder is there is known only when the network is built.
    """
    if name != NONE and "/" not in name and "\\" not in name:
        raise ValueError(f"'{name}' is neither `none` nor the path of a folder; write ./{name} for a folder here")
    return name


Checkpoint = Annotated[str, AfterValidator(check_checkpoint)]
Size = Literal["tiny", "small", "base", "large"]
Version = Literal["v1", "v2"]
CONFIG, SAFE, PICKLED, COLOURS = "config.json", "model.safetensors", "pytorch_model.bin", "preprocessor_config.json"


@dataclass(frozen=True)
class Published:
    """A size of the network: its DINOv2, what the neck takes of it, and the licence of V2's weights.

    Attributes:
        width: Channels of DINOv2's tokens.
        layers: Number of its layers.
        heads: Heads of attention in each.
        taken: The layers, from 1, whose features the neck takes, by version.
        reassembled: Channels of the four reassembled features.
        fused: Channels of the fused features.
        licence: Of the published weights of V2; None: there are none.
        picture: Side of the picture whose positions DINOv2 has learned; those of other sizes are interpolated.
    """

    width: int
    layers: int
    heads: int
    taken: Mapping[Version, tuple[int, int, int, int]]
    reassembled: tuple[int, int, int, int]
    fused: int
    licence: str | None
    picture: int = 518


FREE, NOT_COMMERCIAL = "apache-2.0", "cc-by-nc-4.0"
TWELVE: Mapping[Version, tuple[int, int, int, int]] = {"v1": (9, 10, 11, 12), "v2": (3, 6, 9, 12)}
SIZES: Mapping[Size, Published] = {
    "tiny": Published(32, 5, 2, {"v1": (2, 3, 4, 5), "v2": (1, 2, 3, 5)}, (8, 8, 16, 16), 16, None, picture=56),
    "small": Published(384, 12, 6, TWELVE, (48, 96, 192, 384), 64, FREE),
    "base": Published(768, 12, 12, TWELVE, (96, 192, 384, 768), 128, NOT_COMMERCIAL),
    "large": Published(
        1024, 24, 16, {"v1": (21, 22, 23, 24), "v2": (5, 12, 18, 24)}, (256, 512, 1024, 1024), 256, NOT_COMMERCIAL
    ),
}

WHAT = ("patch_size", "neck_hidden_sizes", "fusion_hidden_size", "head_hidden_size", "reassemble_factors")
OF_BACKBONE = (
    "model_type",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "mlp_ratio",
    "image_size",
    "out_indices",
    "apply_layernorm",
    "use_swiglu_ffn",
    "qkv_bias",
    "hidden_act",
    "layer_norm_eps",
)
"""What a configuration of transformers says about the network that changes its outputs."""


def transformers() -> Any:
    """The library.

    Raises:
        UserError: It is not installed.
    """
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise UserError("model 'depth_anything' needs transformers; install it by `pip install dmx[depth]`.") from error


def configuration(size: Size, version: Version, max_depth: int | None) -> Any:
    """The `DepthAnythingConfig` of a size, a version, and a kind of depth head.

    Raises:
        UserError: transformers is not installed.
    """
    library, one = transformers(), SIZES[size]
    backbone = library.Dinov2Config(
        hidden_size=one.width,
        num_hidden_layers=one.layers,
        num_attention_heads=one.heads,
        mlp_ratio=4,
        image_size=one.picture,
        patch_size=14,
        out_indices=[*one.taken[version]],
        apply_layernorm=True,
        reshape_hidden_states=False,
    )
    return library.DepthAnythingConfig(
        backbone_config=backbone,
        patch_size=14,
        reassemble_hidden_size=one.width,
        reassemble_factors=[4, 2, 1, 0.5],
        neck_hidden_sizes=[*one.reassembled],
        fusion_hidden_size=one.fused,
        head_hidden_size=32,
        depth_estimation_type="relative" if max_depth is None else "metric",
        max_depth=1 if max_depth is None else max_depth,
    )


def loaded(checkpoint: str, config: Any) -> Any:
    """The `DepthAnythingForDepthEstimation` with the checkpoint's weights in float32, or with random ones.

    Raises:
        UserError: The checkpoint is missing, cannot be read, or is of another network.
    """
    library = transformers()
    if checkpoint == NONE:
        made = library.DepthAnythingForDepthEstimation(config)
        if config.depth_estimation_type == "relative":
            nn.init.ones_(made.head.conv3.bias)  # with 0 the ReLU behind it can be 0 everywhere and learn nothing
        return made
    folder, weights = place(checkpoint), weights_of(checkpoint)
    check_configuration(folder, config)
    try:
        with quiet(library):
            made, found = library.DepthAnythingForDepthEstimation.from_pretrained(
                str(folder),
                config=config,
                local_files_only=True,
                use_safetensors=weights.name == SAFE,
                weights_only=True,  # a pickle that could run code is refused
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # so that all are told at once, below
            )
    except (OSError, ValueError, RuntimeError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        said = " ".join(str(error).split())
        raise UserError(
            f"{weights}: cannot be read as weights of Depth Anything ({type(error).__name__}: {said:.200}); "
            "download the checkpoint again."
        ) from error
    check_keys(weights, found)
    return made.float()


def check_keys(weights: Path, found: Mapping[str, Any]) -> None:
    """Check that a checkpoint has exactly the network's weights, from transformers' `loading_info`.

    Raises:
        UserError: It has not; the message lists all missing, superfluous and misshapen ones.
    """
    shapes = [f"{name} {[*there]} instead of {[*wanted]}" for name, there, wanted in found["mismatched_keys"]]
    wrong = {
        "missing": sorted(found["missing_keys"]),
        "superfluous": sorted(found["unexpected_keys"]),
        "of another shape": sorted(shapes),
    }
    if any(wrong.values()):
        said = "; ".join(f"{what} {', '.join(names)}" for what, names in wrong.items() if names)
        raise UserError(
            f"{weights}: has not the weights that its config.json describes: {said}; download the checkpoint again, or "
            "take one that transformers' DepthAnythingForDepthEstimation.save_pretrained wrote."
        )


def weights_files(params: Params) -> list[Path]:
    """The files of the checkpoint that decide the network's initial weights and colours; none without a checkpoint.

    Raises:
        UserError: The checkpoint is missing, or incomplete.
    """
    checkpoint: str = getattr(params, "checkpoint")  # noqa: B009  (each component has a `Params` of its own)
    if checkpoint == NONE:
        return []
    files = (place(checkpoint) / CONFIG, weights_of(checkpoint), place(checkpoint) / COLOURS)
    return [file for file in files if file.is_file()]


def weights_of(checkpoint: str) -> Path:
    """The file with the weights in the folder of a checkpoint: safetensors, or else torch's.

    Raises:
        UserError: There is no such folder, or it is incomplete.
    """
    folder = place(checkpoint)
    advice = (
        "name the folder of a Hugging Face checkpoint, with config.json and model.safetensors, as "
        "`hf download depth-anything/Depth-Anything-V2-Small-hf --local-dir FOLDER` makes it, or `none`."
    )
    if not folder.is_dir():
        raise UserError(f"{folder}: is no folder; {advice}")
    if not (folder / CONFIG).is_file():
        raise UserError(f"{folder}: has no {CONFIG}; {advice}")
    found = next((folder / name for name in (SAFE, PICKLED) if (folder / name).is_file()), None)
    if found is None:
        raise UserError(f"{folder}: has neither {SAFE} nor {PICKLED}; {advice}")
    return found


def check_configuration(folder: Path, config: Any) -> None:
    """Check that a checkpoint's config.json describes the network of `config`.

    Raises:
        UserError: It describes another; the message says what to write, or what differs.
    """
    path = folder / CONFIG
    try:
        kept = json.loads(path.read_text())
        kind = kept["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: is no configuration of transformers ({type(error).__name__}: {error}); download it again."
        ) from error
    if kind != config.model_type:
        raise UserError(
            f"{path}: is of a '{kind}' model, not of 'depth_anything'; take a checkpoint of Depth Anything in the "
            "form of transformers (its names at the hub end in -hf), or `none`."
        )
    there = transformers().DepthAnythingConfig.from_pretrained(str(folder), local_files_only=True)
    wanted, found = described(config), described(there)
    if found == wanted:
        return
    for size in SIZES:
        for version in ("v2", "v1"):
            depth = there.max_depth if there.depth_estimation_type == "metric" else None
            if described(configuration(size, version, depth)) == found:
                raise UserError(
                    f"{path}: describes another network than `model` does; write size: {size}, version: {version}, "
                    f"max_depth: {'null' if depth is None else f'{depth:g}'}."
                )
    differing = [f"{name} {found[name]} instead of {wanted[name]}" for name in wanted if found[name] != wanted[name]]
    raise UserError(
        f"{path}: describes no published network; it differs from the one of `model` in {', '.join(differing)}; take "
        "a published checkpoint."
    )


def described(config: Any) -> dict[str, Any]:
    """What a configuration says about the network, as plain values that can be compared."""
    values = {name: getattr(config, name) for name in WHAT}
    values |= {f"backbone {name}": getattr(config.backbone_config, name) for name in OF_BACKBONE}
    metric = config.depth_estimation_type == "metric"
    values["max_depth"] = config.max_depth if metric else None
    return {name: [*value] if isinstance(value, list | tuple) else value for name, value in values.items()}


def colours(checkpoint: str) -> tuple[Rgb, Rgb]:
    """Mean and standard deviation of colours from the checkpoint's preprocessor_config.json; without it ImageNet's.

    Raises:
        UserError: The file is damaged.
    """
    path = place(checkpoint) / COLOURS
    if checkpoint == NONE or not path.is_file():
        return IMAGENET
    try:
        kept = json.loads(path.read_text())
        mean, std = ([float(value) for value in kept[name]] for name in ("image_mean", "image_std"))
        return (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError(
            f"{path}: has no image_mean and image_std of three numbers ({type(error).__name__}: {error}); download it "
            "again, or remove it, and ImageNet's are taken."
        ) from error


@contextmanager
def quiet(library: Any) -> Iterator[None]:
    """Keep transformers from drawing bars and tables of keys; its own messages are ours to give."""
    logging = library.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
