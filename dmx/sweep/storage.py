"""Optuna storages: a journal file for one machine, a database for several."""

import functools
import json
import logging
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import TrialState
from pydantic import BaseModel, ConfigDict
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError

from dmx.errors import UserError
from dmx.registry.ranges import Scalar
from dmx.stored import intact
from dmx.sweep.optuna_private import RDB_METHODS, cached
from dmx.tracking.home import OPTUNA_JOURNAL

HEARTBEAT_INTERVAL = 15
"""Seconds between two heartbeats of a trial in a database."""
GRACE_PERIOD = 60
"""Seconds without a heartbeat after which a trial is stale."""
RETRY_SECONDS = 600.0
"""How long to retry an unreachable database: restarts and failovers take minutes. Only queries block training."""
RETRY_PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0)
log = logging.getLogger(__name__)


class SystemLock(JournalFileOpenLock):
    """A lock on the journal that the operating system releases when its process dies.

    Optuna's own locks are files, which remain after a SIGKILL and then delayed the next writer by 30 s (measured).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file_lock = FileLock(path.with_suffix(".lock"), poll_interval=0.001)

    def __reduce__(self) -> tuple[type["SystemLock"], tuple[Path]]:
        return SystemLock, (self.path,)

    def acquire(self) -> bool:
        """Wait for the lock."""
        self.file_lock.acquire()
        return True

    def release(self) -> None:
        """Release the lock."""
        self.file_lock.release()


class AtomicJournal(JournalFileBackend):
    """Optuna's journal file with atomic appends: an append to a full disk leaves no partial line."""

    def __init__(self, path: Path, lock: SystemLock) -> None:
        super().__init__(str(path), lock)
        self.path, self.lock = path, lock

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append all of these lines or none."""
        with self.lock.file_lock:
            size = self.path.stat().st_size
            try:
                with self.path.open("ab") as file:
                    file.write("".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode())
                    file.flush()
                    os.fsync(file.fileno())
            except OSError:
                os.truncate(self.path, size)
                raise


def open_journal(folder: Path) -> BaseStorage:
    """Open the journal in `folder` for appending; create it if it is missing.

    Raises:
        UserError: The journal is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / OPTUNA_JOURNAL
    with SystemLock(path).file_lock:
        cut_torn_line(path)
    return read_journal(folder)


def read_journal(folder: Path) -> BaseStorage:
    """Open the journal in `folder` without changing it, until something is written to the storage.

    Raises:
        UserError: The journal is damaged.
    """
    path = folder / OPTUNA_JOURNAL
    with intact(path, f"restore it from a copy, or remove {folder} and the study's runs to begin it anew."):
        storage = JournalStorage(AtomicJournal(path, SystemLock(path)))
        for study in storage.get_all_studies():
            check_trials(storage, study.study_name)
        return storage


class StoredTrial(BaseModel):
    """The types of a trial's fields, which Optuna takes from its journal unchecked."""

    model_config = ConfigDict(strict=True, from_attributes=True)
    values: list[float] | None
    params: dict[str, Scalar]
    user_attrs: dict[str, Any]
    system_attrs: dict[str, Any]
    intermediate_values: dict[int, float]


def check_trials(storage: BaseStorage, study_name: object) -> None:
    """Check the types of a study's name and its trials' fields, and that complete trials have finite values.

    Raises:
        TypeError: The name is no string.
        ValueError: A trial is wrong.
    """
    if not isinstance(study_name, str):
        raise TypeError(f"{study_name} is no name of a study")
    study_id = storage.get_study_id_from_name(study_name)
    objectives = len(storage.get_study_directions(study_id))
    for trial in storage.get_all_trials(study_id, deepcopy=False):
        StoredTrial.model_validate(trial)
        values = trial.values or ()
        if trial.state is TrialState.COMPLETE and (len(values) != objectives or not all(map(math.isfinite, values))):
            raise ValueError(f"trial {trial.number} is complete, with {trial.values} for {objectives} objectives")


def cut_torn_line(path: Path) -> None:
    """Remove an incomplete last line, left by a kill or a power failure, which Optuna could not read."""
    if path.exists() and not (data := path.read_bytes()).endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(data.rfind(b"\n") + 1)


class RetryingStorage(RDBStorage):
    """`RDBStorage` whose methods retry while the database is unreachable.

    If the connection breaks just after a call took effect, the call is made twice. Nearly all calls are idempotent:
    they read, or set a value. Of the others, surplus new trials are numbered beyond `n_trials` and ignored; a trial
    that was already claimed is not claimed again, but becomes stale and is requeued; setting the state of a finished
    trial raises, which the caller expects.
    """


def retried(method: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `method` so that it retries while the database is unreachable."""

    @functools.wraps(method)
    def retrying(self: RDBStorage, *args: Any, **kwargs: Any) -> Any:
        begun, tries = time.monotonic(), 0
        while True:
            try:
                return method(self, *args, **kwargs)
            except (DBAPIError, StorageInternalError) as error:
                if not is_connection_error(error) or time.monotonic() - begun > RETRY_SECONDS:
                    raise
                if tries == 0:
                    log.warning("The study's database does not answer (%s); trying again.", first_line(error))
                time.sleep(RETRY_PAUSES[min(tries, len(RETRY_PAUSES) - 1)])
                tries += 1

    return retrying


for name in RDB_METHODS:
    setattr(RetryingStorage, name, retried(getattr(RDBStorage, name)))


def is_connection_error(error: Exception) -> bool:
    """Whether the error is that the database could not be reached, rather than a wrong statement."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    return isinstance(cause, OperationalError) or (isinstance(cause, DBAPIError) and cause.connection_invalidated)


def first_line(error: Exception) -> str:
    """The message of an error without the SQL statement."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    return str(cause).partition("\n")[0]


def open_database(url: str) -> BaseStorage:
    """Open the storage in the database at `url`, an SQLAlchemy URL.

    Raises:
        UserError: The URL is invalid, its driver is missing, or the database does not answer.
    """
    if url.startswith("sqlite"):
        raise UserError(
            "--storage takes a server's database (postgresql+psycopg://..., mysql+pymysql://...); for one machine "
            "leave it out: SQLite fails where several processes open it at once."
        )
    options = {"pool_pre_ping": True}  # detects connections closed by a restart
    template = url.replace("{", "{{").replace("}", "}}")  # Optuna formats it; a password may have braces
    try:
        # First without retries, so that a wrong URL fails at once; its connections are closed.
        RDBStorage(template, engine_kwargs=options).engine.dispose()
        return cached(
            RetryingStorage(template, options, heartbeat_interval=HEARTBEAT_INTERVAL, grace_period=GRACE_PERIOD)
        )
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise UserError(f"--storage {without_password(url)}: {first_line(error)}") from error
    except (DBAPIError, StorageInternalError) as error:
        raise UserError(
            f"--storage {without_password(url)}: no database answers there ({first_line(error)})."
        ) from error


def without_password(url: str) -> str:
    """The URL without its password, for display."""
    from sqlalchemy.engine import make_url

    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return url
