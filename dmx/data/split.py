"""Split into train, val and test: by group, seeded, disjoint, independent of the order of the rows."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import TypeAdapter

from dmx.data.layout import DatasetIndex
from dmx.errors import DataError, UserError

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Split:
    """The ids of each part, sorted. A part that was not requested is empty."""

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the assignment of ids to parts."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """Serialise to JSON."""
        return json.dumps(asdict(self), indent=0)

    @classmethod
    def from_json(cls, text: str, where: str = "stored split") -> "Split":
        """Parse the output of `to_json`; `where` names its origin in messages.

        Raises:
            DataError: The text is something else.
        """
        try:
            parts = json.loads(text)
            json.dumps(parts, ensure_ascii=False).encode()  # refuses halves of characters, which JSON can escape
            return TypeAdapter(cls).validate_python(parts)
        except (ValueError, RecursionError) as error:
            cause = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise DataError(
                f"{where}: cannot be read ({cause}); it must be what `to_json` wrote, "
                "so restore it or make the split anew."
            ) from error


def split(index: DatasetIndex, *, val: float, test: float, seed: int, by: Literal["group", "sample"]) -> Split:
    """Split the samples of a data set.

    An official `test` or `val` is kept. Requested parts that are missing are drawn from the rest (the official `train`,
    or all samples), and the fractions `val` and `test` refer to that rest. A part takes whole groups in seeded order as
    long as each brings it nearer to its fraction, and at least one.

    Args:
        index: The data set.
        val: The fraction for validation, in [0, 1); 0 draws none.
        test: The fraction for the test, in [0, 1); 0 draws none.
        seed: 0 is a seed like every other.
        by: `group` keeps groups whole; `sample` does not (as in the published recipe, which leaks backgrounds).

    Raises:
        UserError: The fractions are not in [0, 1), or leave nothing for training.
        DataError: There are fewer groups than parts, or the official split divides a group.
    """
    if not (0 <= val < 1 and 0 <= test < 1 and val + test < 1):
        raise UserError(
            f"`val` and `test` must be in [0, 1) and leave something for training, but got val={val}, test={test}; "
            "lower them."
        )
    ids, parts = index.samples.column("id"), index.samples.column("split")
    groups = index.samples.column("group" if by == "group" else "id")
    if by == "group":
        _check_official(index.root, ids, groups, parts)
    kept = {part: [one for one, own in zip(ids, parts, strict=True) if own == part] for part in ("val", "test")}
    units: dict[str, list[str]] = defaultdict(list)
    for one, group, part in zip(ids, groups, parts, strict=True):
        if part in (None, "train"):
            units[group].append(one)
    wanted = {part: share for part, share in (("test", test), ("val", val)) if share > 0 and not kept[part]}
    drawn = _draw(index, units, wanted, np.random.default_rng(seed), by)
    return Split(**{part: tuple(sorted(drawn.get(part, []) + kept.get(part, []))) for part in PARTS})


def _check_official(root: Path, ids: Sequence[str], groups: Sequence[str], parts: Sequence[str | None]) -> None:
    """Check that the official split keeps groups whole."""
    first: dict[str, tuple[str, str | None]] = {}
    for one, group, part in zip(ids, groups, parts, strict=True):
        other, other_part = first.setdefault(group, (one, part))
        if other_part != part:
            raise DataError(
                f"{root}: the official split puts group '{group}' into {other_part} ('{other}') and into {part} "
                f"('{one}'); mend `split` or `group` in samples.csv, or split by sample."
            )


def _draw(
    index: DatasetIndex, units: Mapping[str, list[str]], wanted: Mapping[str, float], rng: np.random.Generator, by: str
) -> dict[str, list[str]]:
    """Assign units to each requested part; training gets the rest."""
    if len(units) < len(wanted) + 1:
        raise DataError(
            f"{index.root}: {len(units)} {by}{'' if len(units) == 1 else 's'} to divide, but {', '.join(wanted)} and "
            f"train need one each; add data, set the fraction of a part to 0"
            f"{', or split by sample.' if by == 'group' else '.'}"
        )
    names = sorted(units)
    order = [names[i] for i in rng.permutation(len(names))]
    total = sum(map(len, units.values()))
    drawn = {}
    for place, (part, share) in enumerate(wanted.items()):
        spare = len(order) - (len(wanted) - place)
        taken = _take({name: len(units[name]) for name in order}, share * total, spare)
        drawn[part] = [one for name in taken for one in units[name]]
        order = [name for name in order if name not in taken]
    return drawn | {"train": [one for name in order for one in units[name]]}


def _take(sizes: Mapping[str, int], target: float, spare: int) -> set[str]:
    """Take units greedily, in order, to approach `target` in total size; at least one and at most `spare`."""
    taken: set[str] = set()
    have = 0
    for name, size in sizes.items():
        if len(taken) < spare and abs(have + size - target) < abs(have - target):
            taken.add(name)
            have += size
    return taken or {min(sizes, key=lambda name: sizes[name])}
