"""What MLflow means when it says no: an outage that passes, or something that somebody has to do something about."""

import errno
import re
import shlex

from dmx.errors import PLACES
from dmx.tracking.store import RefusedError

DONE = "then `dmx sync` sends what is missing"
WAYS_OUT = {
    401: "it does not know who asks: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
    "MLFLOW_TRACKING_TOKEN",
    403: "it does not allow this to who asks: have its keeper give you the right to write, or ask as somebody else "
    "(MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN)",
    413: "a file is larger than the server, or what stands before it, takes: have its keeper raise the limit "
    "(`client_max_body_size` of nginx)",
}
MISPLACED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ELOOP)
"""What the system says of a place that will not mend itself; room may come back."""
PASSING = (408, 425, 429)
"""Codes of HTTP in the four hundreds that mean: later."""


def status_of(error: Exception) -> int:
    """The code of HTTP that fits what MLflow or its server raised; 500 where nothing is known.

    MLflow knows few codes; it tells the others in words.
    """
    told = re.search(r"failed with error code (\d{3})", str(error))
    if told:
        return int(told[1])
    answer = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(answer, int):
        return answer
    if getattr(error, "error_code", None) == "INVALID_STATE":  # MLflow says 500, but of what was deleted
        return 409
    known = getattr(error, "get_http_status_code", None)
    return int(known()) if known is not None else 500


def is_missing(error: Exception) -> bool:
    """Whether MLflow says that it does not have what it was asked for."""
    return getattr(error, "error_code", None) == "RESOURCE_DOES_NOT_EXIST"


def refusal(error: Exception, address: str, *, local: bool) -> RefusedError | None:
    """What is to be done where asking again does not help; None for an outage.

    Args:
        error: What MLflow or its server raised.
        address: The tracking address.
        local: Whether the store is the SQLite file of the home.
    """
    if isinstance(error, RefusedError):
        return error
    if found := misplaced(error):
        return found
    text, status = " ".join(str(error).split()), status_of(error)
    if "out-of-date database schema" in text or "Can't locate revision" in text:
        return RefusedError(
            f"MLflow's store was written by another version of MLflow. Copy it, call `mlflow db upgrade "
            f"{shlex.quote(address)}` (or install the newer MLflow that wrote it), {DONE}."
        )
    if re.search(r"file is not a database|malformed|no such (table|column)", text):
        remedy = "`dmx sync --rebuild` sets it aside and makes another" if local else f"restore it from a copy, {DONE}"
        return RefusedError(f"MLflow's store is damaged ({text[:100]}): {remedy}.")
    if status in WAYS_OUT:
        return RefusedError(f"MLflow refuses this (code {status}): {WAYS_OUT[status]}; {DONE}.")
    if 400 <= status < 500 and status not in PASSING:
        return RefusedError(f"MLflow refuses this and will again ({text[:300]}). Mend that, {DONE}.")
    return None


def misplaced(error: Exception) -> RefusedError | None:
    """What is to be done where a store's own place cannot be written, whichever store it is."""
    if not isinstance(error, OSError) or error.filename is None or error.errno not in MISPLACED:
        return None
    return RefusedError(f"{error.filename}: {error.strerror}; {PLACES[error.errno]}, {DONE}.")


def deleted_run(address: str, run: str, mlflow_id: str) -> RefusedError:
    """A run that somebody deleted in MLflow."""
    way = command(address, f"runs restore --run-id {mlflow_id}")
    return RefusedError(
        f"run {run} was deleted in MLflow, which gets no more of it. To have it back: `{way}`; {DONE}.", unwanted=True
    )


def deleted_experiment(address: str, name: str, experiment: str) -> RefusedError:
    """An experiment that somebody deleted in MLflow."""
    way = command(address, f"experiments restore --experiment-id {experiment}")
    return RefusedError(
        f"experiment '{name}' was deleted in MLflow, which gets no more of its runs. To have it back: `{way}`; {DONE}. "
        "Or give new runs another `name`.",
        unwanted=True,
    )


def command(address: str, what: str) -> str:
    """The call of MLflow's own command."""
    return f"MLFLOW_TRACKING_URI={shlex.quote(address)} mlflow {what}"
