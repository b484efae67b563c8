"""What a process of its own does in the tests of the trial queue; it imports nothing else, as seconds count there."""

from multiprocessing.queues import Queue
from pathlib import Path
from types import SimpleNamespace

from dmx.config import StudyConfig
from dmx.sweep.trial_queue import open_queue


def named(config: StudyConfig) -> SimpleNamespace:
    """What a queue needs of a study; unlike a study it can be sent to another process."""
    return SimpleNamespace(name=config.name, goals=config.goals, trials=config.trials)


def claim_all(study: SimpleNamespace, folder: Path, found: "Queue[list[int]]") -> None:
    """Claim every trial; put the numbers of those granted."""
    queue = open_queue(study, folder)
    found.put([number for number in range(study.trials) if queue.claim(number)])
