"""Configuration of an experiment's data: data set, split, cache, loading and augmentation."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from dmx.config.base import Frozen, once
from dmx.config.components import ComponentField
from dmx.registry import Params, augmentations

Fraction = Annotated[float, Field(ge=0, lt=1)]


class SplitConfig(Frozen):
    """How samples are divided into train, validation and test."""

    val: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """The share of validation."""
    test: Fraction = 0.15
    """The share of test; where the data set brings an official test part, that is taken instead."""
    by: Literal["group", "sample"] = "group"
    """`group` keeps samples of one background or scene together; `sample` lets scenes leak from train into test."""
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _leaves_train(self) -> "SplitConfig":
        if self.val + self.test >= 1:
            raise ValueError(
                f"val + test must be below 1, but got {self.val} + {self.test}; nothing is left to train on"
            )
        return self


class DataConfig(Frozen):
    """Which data, how it is split and how it is brought to the network."""

    root: str
    """The folder of the data set."""
    split: SplitConfig = SplitConfig()
    cache: Literal["auto", "memory", "disk", "none"] = "auto"
    """Where decoded and resized samples are kept. `memory`: in this process; `disk`: in a pack in the folder `packs` of
    the results, which processes and runs share; `none`: nowhere. `auto` takes memory for what fits into a quarter of
    what is free, else the disk where that pays and fits."""
    workers: Literal["auto"] | Annotated[int, Field(ge=0, le=128)] = "auto"
    """Loader processes; `auto`: none for samples in memory, else one for each core but at most 8."""
    normalisation: Literal["model", "data"] = "model"
    """The mean and deviation of colours that the network's inputs are freed of: those that its pretrained weights
    expect, ImageNet's where it has none; or those of the training part, which are counted once and kept."""


Differing = once("an augmentation", "leave one", lambda step: step.component.name)


class AugmentConfig(Frozen):
    """How training samples are changed by chance; a plain list is short for its `steps`."""

    steps: Annotated[tuple[Annotated[Params, ComponentField(augmentations)], ...], Differing] = ()
    """What is done, in this order."""
    where: Literal["cpu", "device"] = "cpu"
    """`cpu`: each sample in the loader, by albumentations; `device`: each batch where it trains, by kornia."""


def as_steps(value: Any) -> Any:
    """Convert a plain list of augmentations to the section `{steps: [...]}`."""
    if isinstance(value, str):
        raise ValueError(f"must be a list of augmentations, but got '{value}'; `auto` is for the search of a study")
    return {"steps": value} if isinstance(value, list | tuple) else value
