"""The result of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter

from dmx.outcome import Outcome


@dataclass(frozen=True)
class Best:
    """The best epoch by the objective and every metric there; nothing is mixed from different epochs."""

    epoch: int
    step: int
    value: float
    metrics: Mapping[str, float | None]


@dataclass(frozen=True)
class RunResult:
    """One outcome, the best epoch where there is one, and what was spent."""

    outcome: Outcome
    reason: str
    best: Best | None
    epochs: int
    steps: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return asdict(self)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "RunResult":
        """Read back what `to_dict` gave; what stands beside it is left alone.

        Raises:
            ValueError: It gave something else.
        """
        return STORED.validate_python(data)


STORED = TypeAdapter(RunResult)
"""Made once: a leaderboard reads thousands."""


@dataclass
class Position:
    """How far a run is: what a checkpoint keeps beside tensors."""

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    best: Best | None = None
    pruned: str = ""
    """Why the run was pruned, if it was."""
    pieces: int = 1
    """In how many pieces each batch goes through the network, because memory ran out."""

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "Position":
        """Read back what `to_dict` gave.

        Raises:
            ValueError: It gave something else.
        """
        return TypeAdapter(Position).validate_python(data)


def without_value(metrics: Sequence[str], epochs: int) -> str:
    """The message that no epoch had a value of the required metrics.

    >>> without_value(["val/mask/iou_pooled"], 3)
    'val/mask/iou_pooled had a value in none of 3 epochs'
    """
    named = [*dict.fromkeys(metrics)]
    return f"{' and '.join(named)} had {'values together' if named[1:] else 'a value'} in none of {epochs} epochs"
