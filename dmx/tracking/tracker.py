"""What training knows of tracking."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from dmx.outcome import Outcome
from dmx.registry.ranges import Scalar
from dmx.tracking.mlflow_forms import View


@runtime_checkable
class Tracker(Protocol):
    """Records what a run does and returns at once; no store can delay it or make it fail."""

    def log(self, step: int, values: Mapping[str, float | int]) -> None:
        """Record scalars at an optimizer step; a key's steps at or below its last one are ignored."""

    def image(self, step: int, key: str, picture: UInt8[np.ndarray, "H W 3"]) -> None:
        """Record an RGB picture; a key's steps at or below its last one are ignored."""

    def curve(self, step: int, key: str, hits: Sequence[int], false: Sequence[int], totals: tuple[int, int]) -> None:
        """Record how many pixels of object and rest are predicted at thresholds, and how many there are."""

    def artifact(self, path: Path, folder: str = "") -> None:
        """Keep a file or a folder with the run, under `folder`."""

    def finish(self, outcome: Outcome, reason: str) -> int:
        """Close the run with its outcome.

        Returns:
            The number of events that the stores still lack.
        """


class Untracked:
    """Records nothing: for the processes of a group beside the one that keeps the records."""

    def log(self, step: int, values: Mapping[str, float | int]) -> None:
        """See `Tracker`."""

    def image(self, step: int, key: str, picture: UInt8[np.ndarray, "H W 3"]) -> None:
        """See `Tracker`."""

    def curve(self, step: int, key: str, hits: Sequence[int], false: Sequence[int], totals: tuple[int, int]) -> None:
        """See `Tracker`."""

    def artifact(self, path: Path, folder: str = "") -> None:
        """See `Tracker`."""

    def finish(self, outcome: Outcome, reason: str) -> int:
        """See `Tracker`."""
        return 0


@dataclass(frozen=True)
class RunStart:
    """What is known of a run before step 0.

    Attributes:
        experiment: The MLflow experiment that it belongs to.
        name: What people see in tables.
        tags: Short texts to filter by.
        params: The flattened configuration.
        files: Texts by file name, written into the run's folder and kept as artifacts.
        searched: What a study varies, under the study's names.
        inputs: The parts of the data set, as `journal.Started` has them.
        view: The saved view of the study that this is the record of; None for the record of a run.
    """

    experiment: str
    name: str
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Scalar] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    searched: Mapping[str, Scalar] = field(default_factory=dict)
    inputs: Sequence[Mapping[str, str]] = ()
    view: View | None = None
