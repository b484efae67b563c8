"""The connection to MLflow: tracking URI, client, existing runs, and the meaning of its errors.

Only this module, `mlflow_store` and `mlflow_forms` import MLflow.
"""

import errno
import logging
import os
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse
from urllib.request import url2pathname

from filelock import FileLock

from dmx.errors import PLACES
from dmx.stored import replacing
from dmx.tracking.home import Home, sqlite_uri
from dmx.tracking.journal import Started
from dmx.tracking.secrets import without_secrets

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # With a dead server a call took 246 s by MLflow's default settings, and 3 s by these.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
"""Environment variables to set before MLflow is imported, unless the user has set them."""
RUN_TAG, IDENTITY_TAG, REPLACED_TAG = "dmx.run", "dmx.identity", "dmx.replaced_by"
SYNC = "then `dmx sync` sends what is missing"
REMEDIES = {
    401: "it does not know the user: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
    "MLFLOW_TRACKING_TOKEN",
    403: "this user may not write: have the server's administrator allow it, or set another user "
    "(MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN)",
    413: "a file is larger than the server, or the proxy before it, accepts: have its administrator raise the limit "
    "(`client_max_body_size` of nginx)",
}
UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ELOOP)
"""Values of `errno` for a location that will not recover by itself; not a full disk, which may get room again."""
TEMPORARY = (408, 425, 429)
"""HTTP 4xx status codes that ask to retry later."""
_opened: dict[Path, list[tuple[int, int]]] = {}


class PermanentStoreError(Exception):
    """A store refuses something and will do so until the user acts; the message says how.

    Args:
        text: What is refused, why, and what to do.
        unwanted: Whether the run was deleted in the store, so that its missing events do not count.
    """

    def __init__(self, text: str, *, unwanted: bool = False) -> None:
        super().__init__(text)
        self.unwanted = unwanted


def tracking_uri(home: Home) -> str:
    """The tracking URI: `MLFLOW_TRACKING_URI`, or the SQLite store of `home`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or home.mlflow_uri


def is_local(home: Home) -> bool:
    """Whether the store is the SQLite file of `home`, which dmx creates."""
    return tracking_uri(home) == home.mlflow_uri


def is_server(store: str) -> bool:
    """Whether a tracking URI is that of a server, which has its own web page and chooses the artifact location."""
    return store.startswith(("http:", "https:", "databricks"))


def connect(home: Home) -> "MlflowClient":
    """Create a client of the store at `tracking_uri(home)`.

    A new SQLite store is created under a file lock, because two processes that create one at the same time fail.
    """
    for key, value in SETTINGS.items():
        os.environ.setdefault(key, value)
    from mlflow.tracking import MlflowClient

    for chatty in ("mlflow.store.db.utils", "alembic"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL)  # it also raises what it logs
    home.root.mkdir(parents=True, exist_ok=True)
    with FileLock(home.root / "mlflow.lock", timeout=120):
        if not is_local(home):
            return MlflowClient(tracking_uri(home))
        if home.mlflow_db.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(home.mlflow_db))
        if not home.mlflow_db.exists():
            make_store(home.mlflow_db)
        return MlflowClient(unused_uri(home))


def unused_uri(home: Home) -> str:
    """A URI of the local store that MLflow has not yet used for another file.

    MLflow keeps a file open by its URI, even if the file is replaced; writes by a new client would then be lost.
    """
    path, file = home.mlflow_db.resolve(), file_of(home)
    seen = _opened.setdefault(path, [])
    if file is not None and file not in seen:
        seen.append(file)
    return sqlite_uri(path, detour="./" * (seen.index(file) if file is not None else len(seen)))


def file_of(home: Home) -> tuple[int, int] | None:
    """Device and inode of the local store's file; None if there is none."""
    try:
        found = home.mlflow_db.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino)


def make_store(path: Path) -> None:
    """Create a SQLite store under a temporary name and rename it.

    If MLflow is killed while creating a store, it cannot open it again, as its migrations are not one transaction.
    """
    from mlflow.tracking import MlflowClient

    part = path.with_name(f"{path.name}.part")
    for left in (part, part.with_name(f"{part.name}-journal")):
        left.unlink(missing_ok=True)
    with replacing(path, part):
        detour = "./" * len(_opened.get(path.resolve(), []))
        MlflowClient(sqlite_uri(part.resolve(), detour=detour))


def experiment(client: "MlflowClient", home: Home, name: str) -> str:
    """The id of the experiment called `name`, created if it is missing; a server chooses the artifact location.

    Raises:
        PermanentStoreError: The experiment was deleted in MLflow, which does not allow its name to be reused.
    """
    from mlflow.exceptions import MlflowException

    with FileLock(home.root / "mlflow.lock", timeout=120):
        found = client.get_experiment_by_name(name)
        if found is None:
            folder = home.artifacts.resolve() / re.sub(r"[^\w.-]", "_", name)
            location = None if is_server(tracking_uri(home)) else folder.as_uri()
            try:
                return client.create_experiment(name, artifact_location=location)
            except MlflowException:  # another machine has just created it
                found = client.get_experiment_by_name(name)
                if found is None:
                    raise
        if found.lifecycle_stage == "deleted":
            raise deleted_experiment(home, name, str(found.experiment_id))
        return str(found.experiment_id)


def runs_named(client: "MlflowClient", group: str, run_id: str) -> list["Run"]:
    """The runs of this name in an experiment, including deleted ones.

    There are several if a run's folder was removed and the run started again.
    """
    return [*all_runs(client, [group], f"tags.`{RUN_TAG}` = '{run_id}'", deleted=True)]


def run_of(client: "MlflowClient", run_id: str, start: Started) -> "Run | None":
    """MLflow's run of a journal, including deleted ones, in any experiment, as experiments can be renamed.

    The run is found by its `identity`; for an older journal without one, by name and start time.
    """
    tag, value = (IDENTITY_TAG, start.identity) if start.identity else (RUN_TAG, run_id)
    for run in all_runs(client, every_experiment(client), f"tags.`{tag}` = '{value}'", deleted=True):
        if start.identity or (IDENTITY_TAG not in run.data.tags and run.info.start_time == start.time):
            return run
    return None


def all_runs(client: "MlflowClient", groups: Sequence[str], condition: str, *, deleted: bool) -> Iterator["Run"]:
    """Every run of some experiments that satisfies a condition."""
    from mlflow.entities import ViewType

    view = ViewType.ALL if deleted else ViewType.ACTIVE_ONLY
    return pages(partial(client.search_runs, [*groups], condition, run_view_type=view)) if groups else iter(())


def pages(search: Callable[..., Any]) -> Iterator[Any]:
    """All results of a paginated MLflow search."""
    token = None
    while True:
        page = search(page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def every_run(client: "MlflowClient") -> dict[str, "Run"]:
    """Every run in MLflow by its id, including deleted ones."""
    return {run.info.run_id: run for run in all_runs(client, every_experiment(client), "", deleted=True)}


def every_experiment(client: "MlflowClient") -> list[str]:
    """The id of every experiment in MLflow, including deleted ones."""
    from mlflow.entities import ViewType

    return [one.experiment_id for one in pages(partial(client.search_experiments, view_type=ViewType.ALL))]


def is_complete(run: "Run", start: Started) -> bool:
    """Whether MLflow has all of a run that has ended: its end, and its artifacts.

    It does not if an older copy of the store was restored. Deleted runs are not checked.
    """
    where = urlparse(run.info.artifact_uri or "")
    there = where.scheme != "file" or not start.files or Path(url2pathname(where.path)).exists()
    return run.info.lifecycle_stage == "deleted" or (run.info.status != "RUNNING" and there)


def explain_error(error: Exception, home: Home) -> str:
    """Explain an MLflow error to the user in one line, without passwords."""
    meant = refusal(error, tracking_uri(home), local=is_local(home)) or error
    return without_secrets(" ".join(str(meant).split()))[:1000]


def status_code(error: Exception) -> int:
    """The HTTP status code of an error of MLflow or its server; 500 if unknown.

    MLflow has only a few error codes; other codes appear in its messages.
    """
    in_words = re.search(r"failed with error code (\d{3})", str(error))
    if in_words:
        return int(in_words[1])
    answer = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(answer, int):
        return answer
    if getattr(error, "error_code", None) == "INVALID_STATE":  # MLflow reports 500, but it is about a deleted run
        return 409
    known = getattr(error, "get_http_status_code", None)
    return int(known()) if known is not None else 500


def is_missing(error: Exception) -> bool:
    """Whether the error means that the requested object does not exist."""
    return getattr(error, "error_code", None) == "RESOURCE_DOES_NOT_EXIST"


def refusal(error: Exception, tracking_uri: str, *, local: bool) -> PermanentStoreError | None:
    """Translate an error that a retry cannot resolve into a refusal that says what to do.

    Args:
        error: The error of MLflow or its server.
        tracking_uri: The tracking URI.
        local: Whether the store is the SQLite file of the home.

    Returns:
        The refusal; None for an outage.
    """
    if isinstance(error, PermanentStoreError):
        return error
    if found := unwritable_location(error):
        return found
    text, status = " ".join(str(error).split()), status_code(error)
    if "out-of-date database schema" in text or "Can't locate revision" in text:
        return PermanentStoreError(
            f"MLflow's store was written by another version of MLflow. Copy it, call `mlflow db upgrade "
            f"{shlex.quote(tracking_uri)}` (or install the newer MLflow that wrote it), {SYNC}."
        )
    if re.search(r"file is not a database|malformed|no such (table|column)", text):
        remedy = "`dmx sync --rebuild` sets it aside and makes another" if local else f"restore it from a copy, {SYNC}"
        return PermanentStoreError(f"MLflow's store is damaged ({text[:100]}): {remedy}.")
    if status in REMEDIES:
        return PermanentStoreError(f"MLflow refuses this (code {status}): {REMEDIES[status]}; {SYNC}.")
    if 400 <= status < 500 and status not in TEMPORARY:
        return PermanentStoreError(f"MLflow refuses this and will again ({text[:300]}). Mend that, {SYNC}.")
    return None


def unwritable_location(error: Exception) -> PermanentStoreError | None:
    """The refusal if the store's location cannot be written; None for other errors."""
    if not isinstance(error, OSError) or error.filename is None or error.errno not in UNWRITABLE:
        return None
    return PermanentStoreError(f"{error.filename}: {error.strerror}; {PLACES[error.errno]}, {SYNC}.")


def deleted(client: "MlflowClient", home: Home, run_id: str, mlflow_id: str) -> PermanentStoreError | None:
    """The refusal if the run or its experiment was deleted in MLflow; None if neither was."""
    run = client.get_run(mlflow_id)
    group = client.get_experiment(run.info.experiment_id)
    if group.lifecycle_stage == "deleted":
        return deleted_experiment(home, group.name, group.experiment_id)
    if run.info.lifecycle_stage == "deleted":
        what = f"run {run_id} was deleted in MLflow, which gets no more of it."
        return PermanentStoreError(f"{what} {restoring(home, f'runs restore --run-id {mlflow_id}')}", unwanted=True)
    return None


def deleted_experiment(home: Home, name: str, experiment: str) -> PermanentStoreError:
    """The refusal of an experiment that was deleted in MLflow."""
    what = f"experiment '{name}' was deleted in MLflow, which gets no more of its runs."
    way = restoring(home, f"experiments restore --experiment-id {experiment}")
    return PermanentStoreError(f"{what} {way} Or give new runs another `name`.", unwanted=True)


def restoring(home: Home, command: str) -> str:
    """How to restore what was deleted, by a command of MLflow's."""
    uri = shlex.quote(tracking_uri(home))
    return f"To have it back: `MLFLOW_TRACKING_URI={uri} mlflow {command}`; {SYNC}."
