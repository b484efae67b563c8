"""Stored references of a run's data: trivial predictors from its training part, and how a run stands against them.

`dmx.experiment.references` makes them. Here they are only read; a results folder without them works, too.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from dmx.results.ranking import Entry
from dmx.sample_table import base
from dmx.stored import intact, read_mapping
from dmx.tracking.home import REFERENCES, Home

TITLES = {
    "mean_map": "mean depth map",
    "global_mean": "global mean depth",
    "global_median": "global median depth",
    "mean_mask": "mean mask",
    "background_difference": "background difference",
}
"""The references, by name."""
PREFIX = "reference:"
"""How a reference is named where runs are."""
VERSION = 1
"""Counts up when references are computed or stored in another way."""
NOT_JUDGED = ("depth/checkerboard",)
"""Metrics that are not compared with references: a smooth map has no checkerboard, however wrong it is."""
BELOW_TAG = "dmx.below_reference"
"""MLflow's tag that names the references that a run is no better than, and the metrics; empty: there are none."""


class Known(BaseModel):
    """The content of `REFERENCES`.

    Attributes:
        made_from: The number of training samples that they were computed from.
        training: The number of training samples in all.
        constants: The global mean and median of depth, and the thresholds of the masks.
        values: On validation, each reference's metrics by full name, without `val/`.
        definitions: Of every metric that a run on these data has, by full name.
        higher_is_better: By a metric's full name.
    """

    made_from: int
    training: int
    constants: dict[str, float | None]
    values: dict[str, dict[str, float | None]] = Field(min_length=1)
    definitions: dict[str, str]
    higher_is_better: dict[str, bool]


@dataclass(frozen=True)
class References:
    """The references of one data set, split, size and definitions of metrics, and the folder that holds them."""

    folder: Path
    known: Known

    @property
    def values(self) -> Mapping[str, Mapping[str, float | None]]:
        """Each reference's metrics on validation, by full name without `val/`."""
        return self.known.values

    def strongest(self, metric: str) -> tuple[str, float] | None:
        """The reference with the best value of a metric, and that value; None if none has a value."""
        return strongest(self.values, metric, higher_is_better=self.known.higher_is_better.get(metric, False))

    def samples(self, name: str) -> Path:
        """The table of a reference's metrics on each validation sample."""
        return self.folder / f"{name}.parquet"


def strongest(
    values: Mapping[str, Mapping[str, float | None]], metric: str, *, higher_is_better: bool
) -> tuple[str, float] | None:
    """The name with the best value of a metric, and that value; None if none has a value."""
    found = [(name, value) for name, each in values.items() if (value := each.get(metric)) is not None]
    sign = -1 if higher_is_better else 1
    return min(found, key=lambda one: sign * one[1], default=None)


def key_of(identity: Mapping[str, Any]) -> str:
    """The key of data, split and size of runs with this identity, see `identity_of`; a run's record contains its own.

    Names of reference folders begin with it; digests of the metrics' definitions and of the copy of the data follow.
    """
    return digest(VERSION, *(identity.get(what) for what in ("data", "split", "size")))


def digest(*facts: Any) -> str:
    """A short digest of plain data."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def read_known(folder: Path) -> Known:
    """Read the references in a folder.

    Raises:
        UserError: The file is damaged.
    """
    advice = f"remove {folder}; the next run on these data makes it anew."
    with intact(folder / REFERENCES, advice):
        return Known.model_validate(read_mapping(folder / REFERENCES, advice))


def references_of(home: Home, records: Iterable[Mapping[str, Any]]) -> References | None:
    """The references of the first of these records that has any; None if there are none.

    References apply to a run if all metrics that both have are defined alike. So a run that lacks a newer metric has
    the references that a newer run has made. Of several, those with the most metrics in common are taken.

    Raises:
        UserError: They are damaged.
    """
    if not home.references.is_dir():
        return None
    looked_for = set()
    for record in records:
        key = key_of(record)
        if key in looked_for:
            continue
        looked_for.add(key)
        own = record.get("definitions") or {}
        found: list[tuple[int, References]] = []
        for path in sorted(home.references.glob(f"{key}-*/{REFERENCES}")):
            known = read_known(path.parent)
            common = [known.definitions[metric] == own[metric] for metric in own if metric in known.definitions]
            if all(common):
                found.append((len(common), References(path.parent, known)))
        if found:
            return max(found, key=lambda one: one[0])[1]
    return None


def references_of_entries(home: Home, entries: Sequence[Entry]) -> References | None:
    """The references of ranked runs, which agree in data, split and size."""
    return references_of(home, (entry.record for entry in entries))


@dataclass(frozen=True)
class Standing:
    """How a run stands in one metric against the strongest reference.

    Attributes:
        metric: The metric's full name, with `val/`.
        value: The run's value.
        reference: The reference's name.
        against: Its value.
        skill: The run's skill in this task, pooled; None if it has none.
        better: Whether the run is better than the reference.
    """

    metric: str
    value: float
    reference: str
    against: float
    skill: float | None
    better: bool

    def __str__(self) -> str:
        """For instance `val/depth/rmse_pooled 0.81: mean depth map 1.21, skill 0.55`."""
        skill = "" if self.skill is None else f", skill {self.skill:.3g}"
        title = TITLES.get(self.reference, self.reference)
        if self.better:
            return f"{self.metric} {self.value:.4g}: {title} {self.against:.4g}{skill}"
        return f"{self.metric} {self.value:.4g}: NO BETTER THAN the {title}, which has {self.against:.4g}{skill}"


def standings(
    references: References | None, metrics: Sequence[str], values: Mapping[str, float | None]
) -> list[Standing]:
    """How a run stands in each of these metrics that the run and a reference have.

    Args:
        references: The references of its data; None gives no standings.
        metrics: Full names with `val/`; costs are left out.
        values: The run's metrics at its best epoch.
    """
    found: list[Standing] = []
    if references is None:
        return found
    for metric in dict.fromkeys(metrics):
        name, value = metric.removeprefix("val/"), values.get(metric)
        best = references.strongest(name)
        if best is None or value is None or base(name) in NOT_JUDGED:
            continue
        task = name.partition("/")[0]
        skill = None if base(name).endswith("/skill") else values.get(f"val/{task}/skill_pooled")
        better = value > best[1] if references.known.higher_is_better[name] else value < best[1]
        found.append(Standing(metric, value, *best, skill, better))
    return found


def below(found: Iterable[Standing]) -> str:
    """The references that a run is no better than, with the metrics; empty if there are none."""
    return "; ".join(f"{TITLES.get(one.reference, one.reference)}: {one.metric}" for one in found if not one.better)


def titled(name: str) -> str:
    """A reference's name where runs are listed, which no run can have.

    >>> titled("mean_map")
    'reference: mean depth map'
    """
    return f"{PREFIX} {TITLES.get(name, name)}"
