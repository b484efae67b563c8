"""A network of others as a function of a picture, with what its numbers mean."""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from glob import escape
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float32, UInt8

from dmx.errors import DataError, UserError, did_you_mean
from dmx.foreign.extra import extra
from dmx.foreign.hugging_face import HUGGING_FACE, DepthPipeline
from dmx.foreign.onnx_file import RUN, TORCH, Normalisation, OnnxNetwork, Sides, check_file
from dmx.machine import cores
from dmx.written import place

Picture = UInt8[np.ndarray, "H W 3"]
Plane = Float32[np.ndarray, "height width"]
"""Of any size, not that of the picture."""
Predicts = Literal["metric", "depth", "disparity"]
"""Metres; or numbers without a unit, great where far (`depth`) or where near (`disparity`)."""
PREDICTS = "predicts"
"""Key of an ONNX file's metadata."""


@dataclass(frozen=True)
class Settings:
    """How a network of others is to be used; what is None or empty follows from the network, or has to be given.

    Attributes:
        predicts: What its depth is.
        normalise: How pictures in [0, 1] are normalised.
        depth_output: The output with the depth.
        mask_output: The output with the mask; empty if there is none.
        mask_logits: Whether the mask is logits instead of probabilities.
    """

    predicts: Predicts | None = None
    normalise: Normalisation | None = None
    depth_output: str = ""
    mask_output: str = ""
    mask_logits: bool = False


@dataclass(frozen=True)
class Foreign:
    """A network of others.

    Attributes:
        file: The name of its file or folder.
        sha256: Of its file or files.
        settings: How it is used, with nothing left open.
        predicts: What its depth is.
        needs_background: Whether it takes the background as well.
        runtime: What runs it, with its version.
        size: Height and width that suit it, if a file of `dmx export` says so.
        origin: The run that it was exported from; empty if it is another's.
        run: Picture and background -> depth and mask, each of any size; the mask is None if it gives none.
    """

    file: str
    sha256: str
    settings: Settings
    predicts: Predicts
    needs_background: bool
    runtime: str
    run: Callable[[Picture, Picture | None], tuple[Plane, Plane | None]]
    size: Sides | None = None
    origin: str = ""

    @property
    def facts(self) -> dict[str, str | bool | None]:
        """File and settings, flat."""
        return {"file": self.file, "sha256": self.sha256, **asdict(self.settings)}

    @property
    def name(self) -> str:
        """A name from the file's name, its content and the settings."""
        stem = re.sub(r"[^\w.-]+", "-", self.file.removesuffix(".onnx")).strip("-.") or "network"
        return f"{stem}-{hashlib.sha256(json.dumps(self.facts, sort_keys=True).encode()).hexdigest()[:8]}"


def is_foreign(name: str) -> bool:
    """Whether a name is that of a network of others rather than of a run."""
    return name.startswith(HUGGING_FACE) or Path(name).suffix.lower() in (".onnx", *TORCH)


def open_network(name: str, settings: Settings) -> Foreign:
    """Open a network of others on the CPU; nothing is loaded from the network.

    Args:
        name: The path of an ONNX file, or `hf:` and the folder of a depth-estimation model of Hugging Face.
        settings: How it is to be used.

    Raises:
        UserError: It is not there, its settings do not fit it, or the extra `depth` is not installed.
        DataError: It cannot be read, or takes or gives something else.
    """
    if name.startswith(HUGGING_FACE):
        return _hugging_face(place(name.removeprefix(HUGGING_FACE)), settings)
    return _onnx(place(name), settings)


def _hugging_face(folder: Path, settings: Settings) -> Foreign:
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder}: is no folder of a Hugging Face model (it has no config.json); download one first.")
    if replace(settings, predicts=None) != Settings():
        raise UserError(
            f"{HUGGING_FACE}{folder}: brings its own normalisation and has one output, of depth; leave out what is "
            "said of an ONNX file's inputs and outputs."
        )
    pipe = DepthPipeline(str(folder), threads=cores(), local=True)
    predicts = settings.predicts or ("disparity" if pipe.kind == "relative" else pipe.kind)
    if predicts is None:
        raise UserError(_unsaid(folder, "its config.json"))
    if pipe.kind is not None and (predicts == "metric") != (pipe.kind == "metric"):
        raise UserError(f"{folder}: its config.json says that it predicts {pipe.kind} depth, not {predicts}.")
    return Foreign(
        file=folder.name,
        sha256=digest(sorted(path for path in folder.rglob("*") if path.is_file()), folder),
        settings=replace(settings, predicts=predicts),
        predicts=predicts,
        needs_background=False,
        runtime=f"transformers {extra('transformers').__version__}",
        run=lambda picture, background: (plane(pipe(picture), str(folder)), None),
    )


def _unsaid(path: Path, where: str) -> str:
    return (
        f"{path}: {where} does not say what the depth is; give --predicts metric (metres), depth (no unit, great where "
        "far) or disparity (no unit, great where near)."
    )


def _onnx(path: Path, settings: Settings) -> Foreign:
    check_file(path)
    network = OnnxNetwork(path, threads=cores(), normalise=settings.normalise or "imagenet")
    said = network.metadata.get(PREDICTS)
    predicts = settings.predicts or next((one for one in get_args(Predicts) if one == said), None)
    if predicts is None:
        raise UserError(_unsaid(path, f"its metadata (key `{PREDICTS}`)"))
    depth, mask = outputs(path, network.outputs, settings)
    resolved = replace(
        settings, predicts=predicts, normalise=network.normalisation, depth_output=depth, mask_output=mask
    )

    def run(picture: Picture, background: Picture | None) -> tuple[Plane, Plane | None]:
        found = network(picture, background, [depth, mask] if mask else [depth])
        planes = [plane(one, f"{path}: {name}") for one, name in zip(found, (depth, mask), strict=False)]
        return planes[0], probability(planes[1], resolved, path) if mask else None

    return Foreign(
        file=path.name,
        sha256=digest(sorted(path.parent.glob(f"{escape(path.name)}*")), path.parent),
        settings=resolved,
        predicts=predicts,
        needs_background=network.needs_background,
        runtime=f"onnxruntime {extra('onnxruntime').__version__}",
        run=run,
        size=network.size,
        origin=str(json.loads(network.metadata.get(RUN, '""'))),
    )


def outputs(path: Path, known: Sequence[str], settings: Settings) -> tuple[str, str]:
    """The names of the outputs for depth and mask; the latter is empty if there is none.

    Raises:
        UserError: An output that is named is not there, or it does not follow from the names which one is the depth.
    """
    for name in (settings.depth_output, settings.mask_output):
        if name and name not in known:
            raise UserError(f"{path}: has no output '{name}'; {did_you_mean(name, known)}")
    masks = [name for name in known if "mask" in name.lower()] if len(known) > 1 else []
    mask = settings.mask_output or (masks[0] if len(masks) == 1 else "")
    rest = [name for name in known if name not in (mask, *masks)]
    depths = [name for name in rest if "depth" in name.lower() or "disparity" in name.lower()]
    depth = settings.depth_output or next((only[0] for only in (rest, depths) if len(only) == 1), "")
    if not depth or (len(masks) > 1 and not settings.mask_output):
        which = "--depth-output" if not depth else "--mask-output"
        raise UserError(f"{path}: has the outputs {', '.join(known)}; name the one that is meant by {which}.")
    if settings.mask_logits and not mask:
        raise UserError(f"{path}: has no output for a mask, so --mask-logits says nothing; leave it out.")
    return depth, mask


def plane(found: np.ndarray, who: str) -> Plane:
    """An output as one plane.

    Raises:
        DataError: It is not one, or has numbers that are not finite.
    """
    made = np.squeeze(np.asarray(found, np.float32))
    if made.ndim != 2 or not np.isfinite(made).all():
        raise DataError(f"{who}: gives {list(np.shape(found))} numbers where one plane of finite ones is needed.")
    return made


def probability(mask: Plane, settings: Settings, path: Path) -> Plane:
    """The probability of each pixel, from probabilities or logits.

    Raises:
        DataError: They are no probabilities, though nothing else was said.
    """
    if settings.mask_logits:
        return np.asarray(0.5 + 0.5 * np.tanh(mask / 2), np.float32)  # the sigmoid, without overflow
    if mask.min() < 0 or mask.max() > 1:
        raise DataError(
            f"{path}: {settings.mask_output} gives numbers from {mask.min():g} to {mask.max():g}, which are no "
            "probabilities; if they are logits, say --mask-logits."
        )
    return mask


def digest(files: Sequence[Path], root: Path) -> str:
    """The SHA-256 of files: of a single one that of its content, of several that of names and contents."""
    if len(files) == 1:
        return _sha256(files[0])
    lines = (f"{path.relative_to(root).as_posix()} {_sha256(path)}\n" for path in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
