"""The MLflow replica of the journal.

Sending is idempotent: MLflow ignores a metric that it has with the same key, value, time and step; parameters and tags
are set to the same value; pictures and artifacts overwrite files of the same name.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from dmx.errors import UserError
from dmx.outcome import Outcome
from dmx.stored import replace_text
from dmx.tracking.home import JOURNAL, Home
from dmx.tracking.journal import ArtifactLogged, Event, Finished, ImageLogged, MetricsLogged, Reopened, Started
from dmx.tracking.mlflow_client import (
    IDENTITY_TAG,
    REPLACED_TAG,
    RUN_TAG,
    PermanentStoreError,
    all_runs,
    connect,
    deleted,
    experiment,
    explain_error,
    file_of,
    is_local,
    is_missing,
    pages,
    refusal,
    run_of,
    runs_named,
    tracking_uri,
)
from dmx.tracking.mlflow_forms import (
    LONGEST_PARAM,
    LONGEST_TAG,
    TAG,
    View,
    dataset_input,
    metrics,
    sanitize_key,
    send_image,
    tag,
)

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run
    from mlflow.tracking import MlflowClient

T = TypeVar("T")

STATUS = {
    Outcome.COMPLETE: "FINISHED",
    # Pruning is not an error, so it is not shown as FAILED; a tag has the outcome.
    Outcome.PRUNED: "FINISHED",
    Outcome.INTERRUPTED: "KILLED",
}
OUTCOME_TAG, REASON_TAG = "dmx.outcome", "dmx.reason"
PIN_TAG = "dmx.keep"
"""The tag that makes `dmx gc` keep a run's files."""


class MlflowStore:
    """One run in MLflow."""

    def __init__(self, home: Home, run_id: str) -> None:
        self._home = home
        self._run_id = run_id
        self._folder = home.run(run_id)
        self._state = read_state(home, run_id)
        self._client = self._connected()

    @property
    def sent(self) -> int:
        """The journal's byte offset up to which MLflow has everything."""
        return int(self._state.get("sent", 0))

    def send(self, events: Sequence[Event], end: int) -> None:
        """Send scalars in batches, everything else one by one, in the journal's order.

        Raises:
            PermanentStoreError: MLflow refuses them until the user acts; this is not an outage.
        """
        if is_local(self._home) and file_of(self._home) != self._file:  # the store was removed or replaced
            self._client = self._connected()
            self._forget()
            return
        try:
            self._take(events)
        except Exception as error:
            if is_missing(error) and self._is_lost():
                self._forget()
                return
            raise self._meant(error) from error
        self._keep_state(sent=end, deleted=False)

    def _take(self, events: Sequence[Event]) -> None:
        scalars: list[Metric] = []
        for event in events:
            if isinstance(event, MetricsLogged):
                scalars.extend(metrics(event))
                continue
            self._send_metrics(scalars)
            scalars = []
            self._send_other(event)
        self._send_metrics(scalars)

    def close(self) -> None:
        """Do nothing: MLflow shares its connections between all clients of a process."""

    @property
    def _mlflow_id(self) -> str:
        return str(self._state["run"])

    def _connected(self) -> "MlflowClient":
        try:
            client = connect(self._home)
        except Exception as error:
            raise self._meant(error) from error
        self._file = file_of(self._home)
        return client

    def _is_lost(self) -> bool:
        """Whether a run that MLflow had is missing now, even among deleted runs."""
        if "run" not in self._state:
            return False
        try:
            self._client.get_run(self._mlflow_id)
        except Exception as error:
            return is_missing(error)
        return False

    def _forget(self) -> None:
        """Reset the position, so that everything is sent again: the store or the run was permanently removed."""
        self._state = {}
        state_file(self._folder).unlink(missing_ok=True)

    def _meant(self, error: Exception) -> Exception:
        """Translate an error: a refusal that says what to do, or the error itself for an outage."""
        found = refusal(error, tracking_uri(self._home), local=is_local(self._home))
        if found is None:
            return error
        if not found.unwanted and "run" in self._state:
            with suppress(Exception):  # if this check fails, too, keep the refusal found above
                found = self._deleted() or found
        if found.unwanted:
            self._keep_state(deleted=True)
        return found

    def _deleted(self) -> PermanentStoreError | None:
        return deleted(self._client, self._home, self._run_id, self._mlflow_id)

    def _keep_state(self, **changes: object) -> None:
        self._state |= {"store": store_id(self._home), **changes}
        replace_text(state_file(self._folder), json.dumps(self._state))

    def _send_metrics(self, scalars: Sequence["Metric"]) -> None:
        for some in chunks(scalars, 1000):  # the most that MLflow takes at once
            self._client.log_batch(self._mlflow_id, metrics=some, synchronous=True)  # overrides the environment

    def _send_other(self, event: Event) -> None:
        match event:
            case Started():
                self._start(event)
            case Reopened():
                self._client.update_run(self._mlflow_id, "RUNNING")
                self._tag({**event.tags, OUTCOME_TAG: "running", REASON_TAG: ""})
            case ImageLogged():
                send_image(self._client, self._mlflow_id, self._folder, event)
            case ArtifactLogged():
                path = self._folder / event.file
                if path.exists():  # it may have been removed
                    uri = str(self._client.get_run(self._mlflow_id).info.artifact_uri)
                    if not linked(uri, path, event.folder):
                        self._client.log_artifact(self._mlflow_id, str(path), event.folder or None)
            case Finished():
                self._tag({**event.tags, OUTCOME_TAG: event.outcome, REASON_TAG: event.reason})
                status = STATUS.get(Outcome(event.outcome), "FAILED")
                self._client.set_terminated(self._mlflow_id, status, end_time=event.time)

    def _start(self, event: Started) -> None:
        """Find or create the run; found by its tags, as a crash may have come before its id was stored."""
        from mlflow.entities import Param

        run = run_of(self._client, self._run_id, event)
        if run is None:
            group = experiment(self._client, self._home, event.experiment)
            others = runs_named(self._client, group, self._run_id)
            run = self._create(group, event)
            self._mark(others, run.info.run_id)
        self._keep_state(run=run.info.run_id)
        if run.info.lifecycle_stage == "deleted" and (refused := self._deleted()):
            raise refused
        params = [Param(sanitize_key(key), str(value)[:LONGEST_PARAM]) for key, value in event.params.items()]
        for some in chunks(params, 100):  # the most that MLflow takes at once
            self._client.log_batch(self._mlflow_id, params=some, synchronous=True)
        if event.view is not None:
            self._client.set_experiment_tag(run.info.experiment_id, TAG, tag(View(**event.view), event.time))
        if event.inputs:
            self._client.log_inputs(self._mlflow_id, [dataset_input(given) for given in event.inputs])
        for name in event.files:
            self._client.log_artifact(self._mlflow_id, str(self._folder / name))

    def _create(self, group: str, event: Started) -> Any:
        tags = {sanitize_key(key): value[:LONGEST_TAG] for key, value in event.tags.items()}
        tags |= {RUN_TAG: self._run_id, OUTCOME_TAG: "running", "mlflow.source.name": "dmx"}
        tags |= {IDENTITY_TAG: event.identity} if event.identity else {}
        return self._client.create_run(group, start_time=event.time, tags=tags, run_name=event.name)

    def _mark(self, others: Sequence["Run"], mlflow_id: str) -> None:
        """Tag other runs of the same name with the id of the run that replaces them."""
        for run in others:
            if run.info.lifecycle_stage == "active" and REPLACED_TAG not in run.data.tags:
                self._client.set_tag(run.info.run_id, REPLACED_TAG, mlflow_id, synchronous=True)

    def _tag(self, tags: Mapping[str, str]) -> None:
        for key, value in tags.items():
            self._client.set_tag(self._mlflow_id, sanitize_key(key), value[:LONGEST_TAG], synchronous=True)


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Split the items into chunks of `size`; the last one may be smaller."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def linked(uri: str, path: Path, folder: str) -> bool:
    """Store `path` in `folder` of a local artifact `uri` as a hard link, which takes no space.

    Files of a run are replaced, never modified, so a link keeps its content.

    Returns:
        Whether the link could be created.
    """
    target_uri = urlsplit(uri)
    if target_uri.scheme != "file" or not path.is_file():
        return False
    target = Path(unquote(target_uri.path), folder, path.name)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        os.link(path, target)
    except OSError:  # another file system, or one without hard links
        return False
    return True


def pinned(home: Home) -> dict[str, str]:
    """The runs whose files must be kept: tagged `dmx.keep`, or the source of a registered model version.

    Returns:
        The reason by the run's name.

    Raises:
        UserError: MLflow cannot be queried.
    """
    if is_local(home) and not home.mlflow_db.exists():
        return {}
    try:
        client = connect(home)
        experiments = [one.experiment_id for one in pages(client.search_experiments)]
        tagged = all_runs(client, experiments, f"tags.`{PIN_TAG}` LIKE '%'", deleted=False)
        found = {run.data.tags[RUN_TAG]: f"tagged {PIN_TAG}" for run in tagged if RUN_TAG in run.data.tags}
        for version in pages(client.search_model_versions):
            if RUN_TAG in version.tags:
                found[version.tags[RUN_TAG]] = f"registered as {version.name} version {version.version}"
        return found
    except Exception as error:  # a store or its server may raise anything
        raise UserError(
            f"MLflow cannot be reached ({explain_error(error, home)}), so it is unknown which runs are tagged "
            f"`{PIN_TAG}` or registered as models; try again when it is available."
        ) from error


def artifact_copies(home: Home, run_id: str, name: str) -> Iterator[Path]:
    """The paths of a local MLflow's copies of a run's file."""
    if (mlflow_id := read_state(home, run_id).get("run")) is not None:
        yield from home.artifacts.glob(f"*/{mlflow_id}/artifacts/{name}")


def store_id(home: Home) -> str:
    """An id of the store: a digest of its URI, which may hold a password."""
    return hashlib.sha256(tracking_uri(home).encode()).hexdigest()[:16]


def state_file(run: Path) -> Path:
    """The file with the position in the journal up to which MLflow has it, and MLflow's run id."""
    return run / "mlflow.sent"


def read_state(home: Home, run_id: str) -> dict[str, Any]:
    """The state of the run in the current store; empty for a new store, which is then sent everything."""
    try:
        state = json.loads(state_file(home.run(run_id)).read_text())
    except (FileNotFoundError, ValueError):  # an unreadable file counts as missing
        return {}
    known = isinstance(state, dict) and state.get("store") == store_id(home)
    return state if known and is_line_start(home.run(run_id) / JOURNAL, state.get("sent", 0)) else {}


def is_line_start(journal: Path, sent: object) -> bool:
    """Whether that byte is the start of a line of the journal or its end."""
    if not isinstance(sent, int) or not journal.exists() or not 0 <= sent <= journal.stat().st_size:
        return False
    with journal.open("rb") as lines:
        lines.seek(max(0, sent - 1))
        return sent == 0 or lines.read(1) == b"\n"


def sent(home: Home, run_id: str) -> int:
    """The journal's byte offset up to which MLflow has everything, according to the run's folder."""
    return int(read_state(home, run_id).get("sent", 0))


def was_deleted(home: Home, run_id: str) -> bool:
    """Whether the run was deleted in MLflow before all its events were sent."""
    return bool(read_state(home, run_id).get("deleted"))
