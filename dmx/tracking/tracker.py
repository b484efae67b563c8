"""The tracking interface for training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from dmx.outcome import Outcome
from dmx.registry.ranges import Scalar
from dmx.tracking.mlflow_forms import View


class Tracker:
    """Logs metrics, pictures and artifacts of a run without blocking; logging backends cannot make it fail.

    This one records nothing, for ranks other than 0; `RunTracker` writes the run's journal.
    """

    def log(self, step: int, values: Mapping[str, float | int]) -> None:
        """Record scalars at an optimizer step; a key's steps at or below its last one are ignored."""

    def image(self, step: int, key: str, picture: UInt8[np.ndarray, "H W 3"]) -> None:
        """Record an RGB picture; a key's steps at or below its last one are ignored."""

    def curve(self, step: int, key: str, hits: Sequence[int], false: Sequence[int], totals: tuple[int, int]) -> None:
        """Record a curve over thresholds: predicted pixels of object (`hits`) and rest (`false`), and their totals."""

    def artifact(self, path: Path, folder: str = "") -> None:
        """Log a file or a folder as an artifact under `folder`."""

    def finish(self, outcome: Outcome, reason: str) -> int:
        """Close the run with its outcome.

        Returns:
            The number of events not yet sent to MLflow and TensorBoard.
        """
        return 0


@dataclass(frozen=True)
class RunStart:
    """The description of a run before step 0.

    Attributes:
        experiment: The MLflow experiment that it belongs to.
        name: Its display name in tables.
        tags: Short texts to filter by.
        params: The flattened configuration.
        files: Texts by file name, written to the run's folder and logged as artifacts.
        searched: The parameters that a study varies, under the study's names.
        inputs: The parts of the data set, see `journal.Started`.
        view: MLflow's saved view, if this is a study's own run; None for other runs.
    """

    experiment: str
    name: str
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Scalar] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    searched: Mapping[str, Scalar] = field(default_factory=dict)
    inputs: Sequence[Mapping[str, str]] = ()
    view: View | None = None
