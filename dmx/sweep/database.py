"""Optuna's storage in a database, for workers on many machines: what a restart breaks off is asked again."""

import functools
import logging
import time
from collections.abc import Callable
from typing import Any

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError

from dmx.errors import UserError
from dmx.sweep.claims import BEAT, SILENCE

PATIENCE = 600.0
"""Seconds for which a database may be away: restarts and failovers take minutes. Training waits only where it asks."""
PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0)
log = logging.getLogger(__name__)


class PatientStorage(RDBStorage):
    """`RDBStorage` whose calls outlive the database's restarts.

    A call that was carried out just as the connection broke is made twice. Nearly all set something to a value, or ask.
    New trials could be too many: those beyond the study's number are never looked at. A trial that was granted already
    is not granted again: its silence frees it. A trial that was told already says so, which the teller knows.
    """


def patient(call: Callable[..., Any]) -> Callable[..., Any]:
    """`call`, made again while the database does not answer."""

    @functools.wraps(call)
    def asked_again(self: RDBStorage, *args: Any, **kwargs: Any) -> Any:
        begun, tries = time.monotonic(), 0
        while True:
            try:
                return call(self, *args, **kwargs)
            except (DBAPIError, StorageInternalError) as error:
                if not away(error) or time.monotonic() - begun > PATIENCE:
                    raise
                if tries == 0:
                    log.warning("The study's database does not answer (%s); trying again.", first_line(error))
                time.sleep(PAUSES[min(tries, len(PAUSES) - 1)])
                tries += 1

    return asked_again


for name in (*BaseStorage.__abstractmethods__, "record_heartbeat", "_get_stale_trial_ids", "_get_trials"):
    setattr(PatientStorage, name, patient(getattr(RDBStorage, name)))


def away(error: Exception) -> bool:
    """Whether the database, and not what it was asked, is at fault."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    return isinstance(cause, OperationalError) or (isinstance(cause, DBAPIError) and cause.connection_invalidated)


def first_line(error: Exception) -> str:
    """What an error says, without the statement that met it."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    return str(cause).partition("\n")[0]


def open_database(url: str) -> BaseStorage:
    """The storage in the database at `url`, as SQLAlchemy writes addresses.

    Raises:
        UserError: The address is none, its driver is missing, or nobody answers there.
    """
    if url.startswith("sqlite"):
        raise UserError(
            "--storage takes a server's database (postgresql+psycopg://..., mysql+pymysql://...); for one machine "
            "leave it out: SQLite fails where several processes open it at once."
        )
    options = {"pool_pre_ping": True}  # connections from before a restart are noticed and left
    try:
        RDBStorage(url, engine_kwargs=options)  # once without patience: a wrong address is a mistake, not an outage
        return _CachedStorage(PatientStorage(url, options, heartbeat_interval=BEAT, grace_period=SILENCE))
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise UserError(f"--storage {shown(url)}: {first_line(error)}") from error
    except (DBAPIError, StorageInternalError) as error:
        raise UserError(f"--storage {shown(url)}: nobody answers there ({first_line(error)}).") from error


def shown(url: str) -> str:
    """The address without its password."""
    from sqlalchemy.engine import make_url

    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return url
