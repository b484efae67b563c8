"""Optuna's journal of a study, in the study's folder."""

import fcntl
import logging
from contextlib import nullcontext
from pathlib import Path

import optuna
from filelock import FileLock
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from dmx.config import StudyConfig
from dmx.sweep.claims import Claims, unique
from dmx.sweep.database import open_database

JOURNAL = "optuna.journal"


class SystemLock(JournalFileOpenLock):
    """A lock on the journal that the system lets go of when its holder dies.

    Optuna's own locks are files: after a SIGKILL they were seen to hold the next writer up for 30 s.
    """

    def __init__(self, path: Path) -> None:
        self.file = path.with_suffix(".lock").open("a")

    def acquire(self) -> bool:
        """Wait for the lock."""
        fcntl.flock(self.file, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        """Let the next one write."""
        fcntl.flock(self.file, fcntl.LOCK_UN)


def open_claims(config: StudyConfig, folder: Path, url: str | None = None, owner: str | None = None) -> Claims:
    """The queue of the study in the database at `url`, or in `folder`; made where there is none.

    Args:
        config: The study.
        folder: Its folder.
        url: Its database, if it has one.
        owner: Who claims trials.
    """
    optuna.logging.set_verbosity(logging.WARNING)
    storage = open_database(url) if url else open_journal(folder)
    directions = [goal.direction or "minimize" for goal in config.goals]
    optuna.create_study(storage=storage, study_name=config.name, directions=directions, load_if_exists=True)
    gate = nullcontext() if url else FileLock(folder / "claims.lock")
    return Claims(storage, config.name, config.trials, owner or unique(), gate)


def open_journal(folder: Path) -> BaseStorage:
    """Optuna's journal in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / JOURNAL
    lock = SystemLock(path)
    lock.acquire()
    cut_torn_line(path)
    lock.release()
    return JournalStorage(JournalFileBackend(str(path), lock))


def cut_torn_line(path: Path) -> None:
    """Take away what a loss of power left of a last line: Optuna would stumble over it once more is appended."""
    if path.exists() and not (data := path.read_bytes()).endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(data.rfind(b"\n") + 1)
