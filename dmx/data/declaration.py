"""The declaration of a data set, `dataset.yaml`: how depth and mask are stored, and which values mean unknown.

    name: kitchen
    pictures: /data/kitchen   # where the paths of the samples begin; left out: this folder
    depth:
      kind: metric            # metres; or: relative, in [0, 1]
      scale: 0.001            # depth = raw * scale + offset; form: inverse gives 1 / (raw * scale + offset)
      range: [0.3, 12.0]      # no known depth lies outside
      unknown: [0]            # raw values that mean "nobody knows"; NaN and infinity always do
    mask: {threshold: null}   # null: exactly two values; 127: the object is where raw > 127; or labels: [5, 6]

This module does not import torch, which the processes that render or import data do not need.
"""

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from dmx.errors import ConfigError, DataError, Problem, did_you_mean
from dmx.written import not_filled_in, read_yaml

FILE = "dataset.yaml"


class Strict(BaseModel):
    """A frozen section of a file that users write; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class DepthDeclaration(Strict):
    """How depth is stored. Raw values that are not finite are unknown, whatever is declared."""

    kind: Literal["metric", "relative"]
    """`metric`: metres along the optical axis; `relative`: in [0, 1], without a unit."""
    form: Literal["linear", "inverse"] = "linear"
    """`linear`: depth = raw * scale + offset; `inverse` (disparity): depth = 1 / (raw * scale + offset)."""
    scale: float = Field(default=1.0, gt=0)
    offset: float = 0.0
    rotated: int = Field(default=0, ge=0, le=15)
    """16-bit values are stored with their bits rotated left by so many places (SUN RGB-D: 3)."""
    range: tuple[float, float]
    """The least and the greatest depth that may occur; [0, 1] where the kind is relative."""
    unknown: tuple[float, ...] = ()
    """Raw values that mean unknown depth."""
    outside: Literal["error", "unknown"] = "error"
    """What a depth outside of `range` is: a mistake in the data, or a pixel of unknown depth."""
    near: Literal["low", "high"] = "low"
    """Which end is near."""
    channel: str | None = None
    """The channel of OpenEXR pictures that holds it, as `ViewLayer.Depth.Z`; none: the one that is called so."""

    @field_validator("range")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        low, high = value
        if not low < high:
            raise ValueError(f"`low` must be below `high`, but got low={low}, high={high}; swap them")
        return value

    @model_validator(mode="after")
    def _fits_kind(self) -> "DepthDeclaration":
        if self.kind == "metric" and self.range[0] <= 0:
            raise ValueError(f"metric depth must start above 0 m, but `range` is {list(self.range)}; raise its low end")
        if self.kind == "relative" and self.range != (0.0, 1.0):
            raise ValueError(
                f"relative depth must span [0, 1], but `range` is {list(self.range)}; choose `scale` and `offset` so"
            )
        return self


class MaskDeclaration(Strict):
    """How the mask is stored. Raw values that are not finite are unknown, whatever is declared.

    The raw values of a grey PNG of 1, 2 or 4 bits are the numbers that are stored, 0 to 1, 3 or 15, or 0 to 255 as in
    pictures of 8 bits where `threshold`, `labels` and `unknown` speak of these greys alone.
    """

    threshold: int | None = Field(default=None, ge=0, le=65534)
    """The object is where raw > threshold; without one the picture has two values, 0 and one above it."""
    labels: tuple[int, ...] | None = None
    """The object is where raw is one of these numbers of classes."""
    alpha: bool = False
    """The raw values are the opacity (the fourth channel) of the picture."""
    channel: str | None = None
    """The channel of OpenEXR pictures that holds it; none: the only one."""
    unknown: int | None = Field(default=None, ge=-(2**31), le=65535)
    """The raw value, as -1 or 255, of pixels of which it is not known whether they are on the object."""

    @model_validator(mode="after")
    def _one_way(self) -> "MaskDeclaration":
        if self.threshold is not None and self.labels is not None:
            raise ValueError(
                f"`threshold` and `labels` exclude each other, but got {self.threshold} and {list(self.labels)}; "
                "drop one"
            )
        return self


class Declaration(Strict):
    """The whole `dataset.yaml`."""

    name: str = Field(min_length=1)
    pictures: str | None = None
    """The folder in which the paths of the samples begin, absolute or relative to this one; none: this one."""
    depth: DepthDeclaration | None
    """How depth is stored; null where the samples have none."""
    mask: MaskDeclaration = MaskDeclaration()
    exif: Literal["stored", "upright"] | None = None
    """What pictures are that EXIF wants to be turned: read as their pixels are `stored`, because mask and depth lie so,
    too, or turned `upright`, each by its own EXIF. None: as stored, where the sizes show it; else it is asked for."""
    source: str | None = None
    """Where the data come from; for synthetic sets the command that makes them again."""
    license: str | None = None

    def write(self, folder: Path) -> None:
        """Write `dataset.yaml`, without unset keys that older versions lacked, so that fingerprints stay equal."""
        data = self.model_dump(mode="json")
        for part, key in ((data["depth"], "channel"), (data["mask"], "channel"), (data, "exif")):
            if part is not None and part[key] is None:
                del part[key]
        text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
        (folder / FILE).write_text(text, encoding="utf-8")


def read_declaration(root: Path) -> Declaration:
    """Read and validate `dataset.yaml` in `root`.

    Raises:
        DataError: The folder or the file is missing.
        UserError: The file is not YAML.
        ConfigError: The declaration is invalid; all problems are reported.
    """
    path = root / FILE
    if not root.is_dir():
        raise DataError(
            f"{root}: no such folder of data{not_filled_in(root)}; make one by `dmx data synth {root}` or "
            f"`dmx data import KIND SOURCE {root}`."
        )
    if not path.is_file():
        raise DataError(
            f"{root}: has no {FILE}, so nothing says how depth is to be read; write one (see docs/your_data.md), "
            f"or bring foreign data into shape by `dmx data import KIND {root} OUT`."
        )
    try:
        return Declaration.model_validate(read_yaml(path))
    except ValidationError as error:
        raise ConfigError(str(path), [problem_of(dict(one), Declaration) for one in error.errors()]) from error


def problem_of(error: dict[str, Any], whole: type[BaseModel], **sections: type[BaseModel]) -> Problem:
    """Convert one pydantic error about `whole` or one of its sections to a `Problem` with a plain message."""
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        sections |= {"depth": DepthDeclaration, "mask": MaskDeclaration}
        model = sections[str(error["loc"][0])] if len(error["loc"]) > 1 else whole
        return Problem(where, f"unknown key; {did_you_mean(str(error['loc'][-1]), model.model_fields)}")
    if error["type"] == "missing":
        return Problem(where, "is missing; add it")
    reason = (
        str(error["ctx"]["error"]) if error["type"] == "value_error" else f"{error['msg']}, but got {error['input']!r}"
    )
    return Problem(where, reason)
