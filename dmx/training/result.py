"""What a run came to."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

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
        """Read back what `to_dict` gave."""
        best = Best(**data["best"]) if data["best"] else None
        return RunResult(**{**data, "best": best, "outcome": Outcome(data["outcome"])})


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
        """Read back what `to_dict` gave."""
        return Position(**{**data, "best": Best(**data["best"]) if data["best"] else None})
