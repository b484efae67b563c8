"""What processes of a test do to themselves; in a module of its own, from which started ones import it anew."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dmx.quartet import Quartet


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def asleep() -> None:
    time.sleep(3600)


def stopped() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def wrong() -> None:
    raise ValueError("a defect")


def nothing() -> None:
    pass


@dataclass
class AtSample:
    """An augmentation that leaves samples as they are, and does something at one of them in a loader process.

    Attributes:
        id: Which sample.
        deed: What.
        here: The process in which nothing is done.
        mark: A file that is made right before.
    """

    id: str
    deed: Callable[[], None]
    here: int
    mark: Path | None = None

    def __call__(self, quartet: Quartet, seed: int) -> Quartet:
        if quartet.id == self.id and os.getpid() != self.here:
            if self.mark is not None:
                self.mark.touch()
            self.deed()
        return quartet
