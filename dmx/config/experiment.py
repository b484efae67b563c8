"""The configuration of one experiment: complete, validated, frozen. Equal configurations have equal fingerprints."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_serializer, model_validator

from dmx.config.base import Frozen, once
from dmx.config.components import COMPONENT_PATHS, ComponentField, dump_component, name_or_value_at, unmet
from dmx.config.data import AugmentConfig, DataConfig, as_steps
from dmx.config.objective import Objective
from dmx.config.paths import lookup, values_by_path
from dmx.registry import (
    Params,
    Scalar,
    depth_losses,
    mask_losses,
    models,
    optimizers,
    schedules,
    weightings,
)

Factor = Annotated[float, Field(gt=0, le=1)]
FactorOrZero = Annotated[float, Field(ge=0, le=1)]
Slug = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]


def not_empty(value: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuse an empty tuple; runs after the items are validated, so a bad item is reported as such."""
    if not value:
        raise ValueError("needs at least one item, but got none")
    return value


def height_width(value: Any) -> Any:
    """Validate a size in pixels: the side of a square, or height and width."""
    sides = list(value) if isinstance(value, list | tuple) else [value, value]
    if len(sides) != 2 or not all(type(side) is int and 8 <= side <= 4096 for side in sides):
        raise ValueError(f"must be a side or [height, width] of 8 to 4096 pixels, but got {value!r}")
    return tuple(value) if isinstance(value, list) else value


NotEmpty = AfterValidator(not_empty)


class LossTerm(Frozen):
    """One loss of a task and its weight within it: `{name: ssim, weight: 0.5}`."""

    loss: Params
    weight: Annotated[float, Field(gt=0)] = 1.0

    @model_serializer
    def _flat(self) -> dict[str, Any]:
        return {**dump_component(self.loss), "weight": self.weight}


def split_weight(value: Any) -> Any:
    """Convert `{name: ssim, weight: 0.5, ...}` to `{loss: {name: ssim, ...}, weight: 0.5}`."""
    if isinstance(value, Mapping) and "weight" in value:
        rest = {key: item for key, item in value.items() if key != "weight"}
        return {"loss": rest, "weight": value["weight"]}
    return value if isinstance(value, LossTerm) else {"loss": value}


def as_list(value: Any) -> Any:
    """Wrap a single item in a list."""
    return value if isinstance(value, list | tuple) else [value]


class MaskTerm(LossTerm):
    """A mask loss and its weight."""

    loss: Annotated[Params, ComponentField(mask_losses, "weight")]


class DepthTerm(LossTerm):
    """A depth loss and its weight."""

    loss: Annotated[Params, ComponentField(depth_losses, "weight")]


Differing = once("a loss", "give it one weight instead", lambda term: term.loss.component.name)


class LossConfig(Frozen):
    """The losses of the two tasks; several losses of one task are added up with their weights."""

    mask: Annotated[
        tuple[Annotated[MaskTerm, BeforeValidator(split_weight)], ...], BeforeValidator(as_list), NotEmpty, Differing
    ]
    depth: Annotated[
        tuple[Annotated[DepthTerm, BeforeValidator(split_weight)], ...], BeforeValidator(as_list), NotEmpty, Differing
    ]


class Stage(Frozen):
    """Some epochs at one size and share of the data; stages go on with the same weights, optimizer and schedule."""

    epochs: Annotated[int, Field(ge=1, le=100_000)]
    size: Annotated[int | tuple[int, int], BeforeValidator(height_width)]
    """Side of a square, or height and width, in pixels."""
    batch_size: Annotated[int, Field(ge=2, le=65_536)]
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Of the training samples; a smaller share is part of a larger one. Validation is always whole."""

    @property
    def height_width(self) -> tuple[int, int]:
        """The size as (height, width)."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size


class GroupsConfig(Frozen):
    """How the optimizer treats the parts of a network; the defaults are common practice."""

    decay_norms_and_biases: bool = False
    """Whether weight decay also pulls at norms, biases and what else a network asks to be spared, as torch would."""
    encoder_lr: FactorOrZero = 1.0
    """The learning rate of the encoder as a share of the others': below 1 for pretrained ones. 0 freezes it, with the
    statistics of its batch norms."""
    layer_decay: Factor = 1.0
    """The learning rate of each layer of the encoder as a share of that of the layer behind it."""


class TrainingConfig(Frozen):
    """How training runs on the machine; `auto` takes what was measured to be good on the device."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Of the forward pass; losses, metrics and weights stay in float32. `auto`: bfloat16 on CUDA where it is native."""
    channels_last: Literal["auto"] | bool = "auto"
    compile: Literal["auto"] | bool = "auto"
    """`torch.compile`; `auto`: where the run is long enough to earn back the compilation."""
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    """Gradients are scaled down to this norm where theirs is greater."""
    on_oom: Literal["stop", "halve"] = "stop"
    """Where a batch does not fit into memory: end as out-of-memory, or go on with pieces of half the size, whose
    gradients add up to the batch's own but for batch norm."""
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Validate and keep an exponential moving average of the weights."""
    batch_norm: Literal["fresh", "running"] = "fresh"
    """In validation: statistics taken anew from training pictures, or the running average of training's steps."""
    log_every: Annotated[int, Field(ge=1)] = 10
    """Steps between two points of the training curves."""
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 30.0
    """Seconds between two checkpoints, beside the one after each epoch; 0: after each step."""
    keep: Literal["best", "all"] = "best"
    """Of a run that has ended: the weights of its best epoch, and of a pruned trial none; or its last checkpoint and a
    pruned trial's weights, too."""


class ExperimentConfig(Frozen):
    """Everything that decides what a run does."""

    name: Slug
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    plugins: Annotated[tuple[str, ...], once("a module", "leave one")] = ()
    """Modules that register components."""
    data: DataConfig
    model: Annotated[Params, ComponentField(models)]
    start: Annotated[str, Field(min_length=1)] | None = None
    """A run, or a file, with whose weights the whole network begins; a file has a slash in its path, or `.safetensors`,
    `.pth`, `.pt` or `.bin` at its end. The model's own `weights` are not used then."""
    depth_link: Literal["auto", "identity", "sigmoid", "softplus", "exp", "inverse"] = "auto"
    """From the network's raw output to depth in the unit of the data set; `auto`: exp for metric depth, for relative
    depth sigmoid; for networks that give disparity inverse, for those that give metres identity."""
    loss: LossConfig
    augment: Annotated[AugmentConfig, BeforeValidator(as_steps)] = AugmentConfig()
    weighting: Annotated[Params, ComponentField(weightings), Field(default="fixed")]
    """How the losses of the tasks become one."""
    optimizer: Annotated[Params, ComponentField(optimizers)]
    groups: GroupsConfig = GroupsConfig()
    """Learning rates and weight decay of some of the parameters."""
    schedule: Annotated[Params, ComponentField(schedules), Field(default="constant")]
    stages: Annotated[tuple[Stage, ...], NotEmpty]
    training: TrainingConfig = TrainingConfig()
    objective: Objective = Objective.model_construct(metric="val/depth/rmse_pooled", direction="minimize")

    @model_validator(mode="after")
    def _needs_are_met(self) -> "ExperimentConfig":
        data = self.dump()
        terms = [term.loss for term in (*self.loss.mask, *self.loss.depth)]
        chosen = (self.model, *terms, self.weighting, self.optimizer, self.schedule)
        if problems := [
            problem for one in chosen for problem in unmet(one.component, lambda path: (name_or_value_at(data, path),))
        ]:
            raise ValueError("; ".join(problems) + "; change one of the two")
        return self

    @property
    def epochs(self) -> int:
        """Total number of epochs over all stages."""
        return sum(stage.epochs for stage in self.stages)

    def dump(self) -> dict[str, Any]:
        """Dump the whole configuration as plain data; `parse_experiment` restores an equal one."""
        return self.model_dump(mode="json")

    @property
    def fingerprint(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of the configuration's canonical JSON."""
        return hash_of(decisive(self.dump()))


def decisive(data: Mapping[str, Any]) -> dict[str, Any]:
    """A dumped experiment without newer settings that it does not use, so that older fingerprints stay as they are."""
    kept = {key: value for key, value in data.items() if key != "start" or value is not None}
    if isinstance(training := data.get("training"), Mapping):
        kept["training"] = {key: value for key, value in training.items() if (key, value) != ("batch_norm", "fresh")}
    return kept


def hash_of(data: Mapping[str, Any]) -> str:
    """First 16 hexadecimal digits of the SHA-256 of the canonical JSON of `data`."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def flatten(config: ExperimentConfig) -> dict[str, Scalar]:
    """Flatten an experiment to dotted names and short values, for tables and for MLflow.

    Keys do not depend on the chosen model, loss or optimizer, so columns are comparable: a component's name is at its
    path (`optimizer`) and its parameters are below (`optimizer.lr`). The names of several losses of one task are joined
    by `+`.
    """
    data = config.dump()
    flat: dict[str, Scalar] = {}
    for path in COMPONENT_PATHS:
        parent, _, key = path.rpartition(".")
        terms = (lookup(data, parent) if parent else data).pop(key)
        terms = terms if isinstance(terms, list) else [terms]
        flat[path] = "+".join(term["name"] for term in terms)
        for term in terms:
            prefix = f"{path}.{term['name']}" if parent == "loss" else path
            flat |= {f"{prefix}.{name}": _short(value) for name, value in term.items() if name != "name"}
    steps = data["augment"].pop("steps")
    flat["augment"] = "+".join(step["name"] for step in steps)
    flat |= {f"augment.{s['name']}.{key}": _short(value) for s in steps for key, value in s.items() if key != "name"}
    flat["stages"] = ", ".join(_stage(stage) for stage in config.stages)
    del data["stages"]
    return flat | {path: _short(value) for path, value in values_by_path(data, enter_lists=False).items()}


def flat_name(path: str) -> str:
    """Return the key in `flatten` for a place `path` that a study searches.

    >>> flat_name("optimizer.adamw.lr"), flat_name("loss.mask.focal.alpha"), flat_name("stages.0.batch_size")
    ('optimizer.lr', 'loss.mask.focal.alpha', 'stages')
    """
    first, *rest = path.split(".")
    if first == "stages":
        return first
    return f"{first}.{'.'.join(rest[1:])}" if first in COMPONENT_PATHS and len(rest) > 1 else path


def _stage(stage: Stage) -> str:
    """Format a stage as epochs, size, batch size and, if below 1, share of the data: `2x64@16 of 0.5`."""
    share = f" of {stage.share:g}" if stage.share < 1 else ""
    return f"{stage.epochs}x{stage.size}@{stage.batch_size}{share}"


def _short(value: Any) -> Scalar:
    return value if isinstance(value, str | int | float | bool | None) else str(value)
