"""Optuna's journal of a study, in the study's folder."""

import json
import logging
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from dmx.config import StudyConfig
from dmx.stored import intact
from dmx.sweep.claims import Claims, unique
from dmx.sweep.database import open_database

JOURNAL = "optuna.journal"


class SystemLock(JournalFileOpenLock):
    """A lock on the journal that the system lets go of when its holder dies.

    Optuna's own locks are files: after a SIGKILL they were seen to hold the next writer up for 30 s.
    """

    def __init__(self, path: Path) -> None:
        self.lock = FileLock(path.with_suffix(".lock"), poll_interval=0.001)

    def acquire(self) -> bool:
        """Wait for the lock."""
        self.lock.acquire()
        return True

    def release(self) -> None:
        """Let the next one write."""
        self.lock.release()


class WholeLines(JournalFileBackend):
    """Optuna's journal, in which a write that finds no room leaves nothing: others append after it."""

    def __init__(self, path: Path, lock: SystemLock) -> None:
        super().__init__(str(path), lock)
        self.path, self.lock = path, lock

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append all of these lines, or none."""
        self.lock.acquire()
        try:
            size = self.path.stat().st_size
            try:
                with self.path.open("ab") as file:
                    file.write("".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode())
                    file.flush()
                    os.fsync(file.fileno())
            except OSError:
                os.truncate(self.path, size)
                raise
        finally:
            self.lock.release()


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
    """Optuna's journal in `folder`, to go on with it.

    Raises:
        UserError: It is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / JOURNAL
    lock = SystemLock(path)
    lock.acquire()
    cut_torn_line(path)
    lock.release()
    return look_at_journal(folder)


def look_at_journal(folder: Path) -> BaseStorage:
    """Optuna's journal in `folder`, which stays as it is as long as nothing is told.

    Raises:
        UserError: It is damaged.
    """
    path = folder / JOURNAL
    lock = SystemLock(path)
    with intact(path, f"restore it from a copy, or remove {folder} and the study's runs to begin it anew."):
        return JournalStorage(WholeLines(path, lock))


def cut_torn_line(path: Path) -> None:
    """Take away what a loss of power left of a last line: Optuna would stumble over it once more is appended."""
    if path.exists() and not (data := path.read_bytes()).endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(data.rfind(b"\n") + 1)
