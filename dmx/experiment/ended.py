"""What becomes of a run's large files when it has ended."""

from pathlib import Path

from dmx.config import ExperimentConfig
from dmx.outcome import Outcome
from dmx.training.trainer import BEST_WEIGHTS, CHECKPOINT

UNFINISHED = (Outcome.INTERRUPTED, Outcome.CRASHED, Outcome.OUT_OF_MEMORY)
"""Outcomes after which the same command goes on from the checkpoint; every other is the end."""


def tidy(folder: Path, outcome: Outcome, config: ExperimentConfig, *, trial: bool = False) -> None:
    """Remove the checkpoint of a run that has ended, and a pruned trial's weights, unless its configuration keeps them.

    It is called when the end is on record, and again wherever that record is met: whatever a kill left goes then.

    Args:
        folder: The run's folder.
        outcome: How it ended.
        config: Its experiment, or its study's.
        trial: Whether it is a trial whose end its study has been told: it never goes on, whatever the outcome.
    """
    if config.training.keep == "all" or (outcome in UNFINISHED and not trial):
        return
    names = [CHECKPOINT, *([BEST_WEIGHTS] if trial and outcome is Outcome.PRUNED else [])]
    for path in (folder / name for name in names):
        path.unlink(missing_ok=True)
        path.with_suffix(".partial").unlink(missing_ok=True)
