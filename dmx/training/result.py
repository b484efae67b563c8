"""The result of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter

from dmx.outcome import Outcome


@dataclass(frozen=True)
class BestEpoch:
    """The best epoch by the objective, with all metrics of that same epoch."""

    epoch: int
    step: int
    value: float
    metrics: Mapping[str, float | None]


@dataclass(frozen=True)
class RunResult:
    """The outcome of a run, its best epoch if any, and the epochs, steps and seconds spent."""

    outcome: Outcome
    reason: str
    best: BestEpoch | None
    epochs: int
    steps: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return asdict(self)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "RunResult":
        """Create a result from `to_dict` data; other keys are ignored.

        Raises:
            ValueError: The data are not from `to_dict`.
        """
        return STORED.validate_python(data)


STORED = TypeAdapter(RunResult)
"""Built once, because a leaderboard reads thousands of results."""


@dataclass
class TrainerState:
    """The progress of a run: the part of a checkpoint that is not tensors."""

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    best: BestEpoch | None = None
    pruned: str = ""
    """Why the run was pruned, if it was."""
    pieces: int = 1
    """Number of micro-batches of each batch, above 1 after memory ran out; checkpoints have the name `pieces`."""


def no_value_message(metrics: Sequence[str], epochs: int) -> str:
    """The message that no epoch had a value of the required metrics.

    >>> no_value_message(["val/mask/iou_pooled"], 3)
    'val/mask/iou_pooled had a value in none of 3 epochs'
    """
    named = [*dict.fromkeys(metrics)]
    return f"{' and '.join(named)} had {'values together' if named[1:] else 'a value'} in none of {epochs} epochs"
