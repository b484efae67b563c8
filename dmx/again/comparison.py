"""Two trainings of one run, compared bit by bit: their journals step by step, their weights tensor by tensor."""

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from dmx.experiment.run import UNFINISHED
from dmx.stored import intact
from dmx.tracking.home import BEST_WEIGHTS, CHECKPOINT
from dmx.tracking.journal import Finished, MetricsLogged, read
from dmx.training.checkpoint import load_state

Scalars = dict[int, dict[str, float]]
"""Values by step and name."""
APART = ("system/", "eval/", "bench/")
"""Names of what is not of the training begin with one of these: measurements of the machine and of the network."""
LOSS = "train/loss"


@dataclass(frozen=True)
class Parting:
    """The first step at which two journals differ.

    Attributes:
        step: The step.
        name: The loss if it differs, otherwise the value that differs most.
        before: Its value in the first journal; None if it is missing.
        now: Its value in the second one.
        others: How many other values differ at this step.
    """

    step: int
    name: str
    before: float | None
    now: float | None
    others: int

    @property
    def relative(self) -> float:
        """The difference as a share of the greater value; infinite if there is none to divide."""
        return apart(self.before, self.now)


@dataclass(frozen=True)
class Journals:
    """What became of two journals.

    Attributes:
        steps: Number of steps that both have.
        names: Number of values that both have by name.
        parting: Where they part; None if they are equal.
        missing: Names that only one of them has, as with another version of dmx.
    """

    steps: int
    names: int
    parting: Parting | None
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Weights:
    """What became of the tensors of two files.

    Attributes:
        tensors: How many there are.
        differing: How many differ.
        name: The one that differs most.
        greatest: By how much its elements differ at most.
    """

    tensors: int
    differing: int
    name: str = ""
    greatest: float = 0.0


def scalars(journal: Path) -> Scalars:
    """All values of a training's journal, to its end, but measurements of the machine.

    `dmx evaluate` and `dmx bench` append theirs to the journal of a run that has ended.

    Raises:
        DataError: The journal is damaged.
    """
    found: Scalars = defaultdict(dict)
    for event, _ in read(journal):
        if isinstance(event, Finished) and event.outcome not in UNFINISHED:
            break
        if isinstance(event, MetricsLogged):
            found[event.step] |= {key: value for key, value in event.values.items() if not key.startswith(APART)}
    return {step: values for step, values in found.items() if values}


def compare_journals(before: Scalars, now: Scalars) -> Journals:
    """Compare the values that both journals have by name."""
    names = [{name for values in each.values() for name in values} for each in (before, now)]
    common = names[0] & names[1]
    parting = None
    for step in sorted({*before, *now}):
        one, two = (each.get(step, {}) for each in (before, now))
        pairs = {name: (one.get(name), two.get(name)) for name in common if name in one or name in two}
        differing = {name: pair for name, pair in pairs.items() if not equal(*pair)}
        if differing:
            worst = LOSS if LOSS in differing else max(sorted(differing), key=lambda name: apart(*differing[name]))
            parting = Parting(step, worst, *differing[worst], others=len(differing) - 1)
            break
    return Journals(len(before.keys() & now.keys()), len(common), parting, tuple(sorted(names[0] ^ names[1])))


def equal(one: float | None, two: float | None) -> bool:
    """Whether two values are the same; not a number is the same as itself."""
    if one is None or two is None:
        return one is two
    return one == two or (math.isnan(one) and math.isnan(two))


def apart(one: float | None, two: float | None) -> float:
    """The difference of two values as a share of the greater one.

    >>> apart(2.0, 1.5), apart(0.0, 0.0), apart(1.0, None)
    (0.25, 0.0, inf)
    """
    if one is None or two is None:
        return math.inf
    if equal(one, two):
        return 0.0
    share = abs(one - two) / max(abs(one), abs(two))
    return math.inf if math.isnan(share) else share


def compare_weights(before: Path, now: Path) -> dict[str, Weights | None]:
    """Compare the weights of the best epochs, and the last checkpoints, in the folders of two runs.

    Returns:
        What became of each file that either has; None where only one has it.

    Raises:
        UserError: A file is damaged.
    """
    found: dict[str, Weights | None] = {}
    for name in (BEST_WEIGHTS, CHECKPOINT):
        paths = [folder / name for folder in (before, now)]
        if all(path.is_file() for path in paths):
            found[name] = compare_tensors(*map(tensors_of, paths))
        elif any(path.is_file() for path in paths):
            found[name] = None
    return found


def tensors_of(path: Path) -> dict[str, Tensor]:
    """The tensors of safetensors or of a checkpoint, by name.

    Raises:
        UserError: The file is damaged.
    """
    if path.name == BEST_WEIGHTS:
        with intact(path, "restore it from a copy."):
            return load_file(path)
    state = dict(load_state(path) or {})
    for key in ("position", "random"):  # the seconds that it took; draws that libraries make outside of the training
        state.pop(key, None)
    return dict(flat(state))


def flat(value: Any, name: str = "") -> list[tuple[str, Tensor]]:
    """All tensors and numbers of a nested structure, by their place in it."""
    if isinstance(value, Tensor):
        return [(name, value)]
    if isinstance(value, Mapping):
        return [pair for key, item in value.items() for pair in flat(item, f"{name}.{key}" if name else str(key))]
    if isinstance(value, list | tuple):
        return [pair for i, item in enumerate(value) for pair in flat(item, f"{name}.{i}")]
    return [(name, torch.tensor(value))] if isinstance(value, bool | int | float) else []


def compare_tensors(before: Mapping[str, Tensor], now: Mapping[str, Tensor]) -> Weights:
    """Compare tensors by their bits."""
    names = sorted({*before, *now})
    differing = [name for name in names if not same_bits(before.get(name), now.get(name))]
    if not differing:
        return Weights(len(names), 0)
    far = {name: distance(before.get(name), now.get(name)) for name in differing}
    worst = max(differing, key=lambda name: far[name])
    return Weights(len(names), len(differing), worst, far[worst])


def same_bits(one: Tensor | None, two: Tensor | None) -> bool:
    """Whether two tensors have the same type, shape and bits."""
    if one is None or two is None or one.dtype != two.dtype or one.shape != two.shape:
        return False
    return torch.equal(*(each.contiguous().reshape(-1).view(torch.uint8) for each in (one, two)))


def distance(one: Tensor | None, two: Tensor | None) -> float:
    """The greatest difference of the elements of two tensors; infinite if they do not fit."""
    if one is None or two is None or one.shape != two.shape:
        return math.inf
    found = (one.double() - two.double()).abs().max().item() if one.numel() else 0.0
    return math.inf if math.isnan(found) else found
