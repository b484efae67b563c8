"""MLflow, fed from the journal.

Everything that is sent may be sent again: MLflow ignores a metric whose key, value, time and step it has, parameters
and tags are set to the same value, pictures and artifacts overwrite files of the same name.
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
from dmx.tracking.journal import Event, Finished, Kept, Measured, Pictured, Reopened, Started
from dmx.tracking.mlflow_client import (
    IDENTITY_TAG,
    REPLACED_TAG,
    RUN_TAG,
    RefusedError,
    address,
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
)
from dmx.tracking.mlflow_forms import (
    LONGEST_PARAM,
    LONGEST_TAG,
    TAG,
    View,
    dataset_input,
    legal,
    metrics,
    send_image,
    tag,
)

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run
    from mlflow.tracking import MlflowClient

T = TypeVar("T")

STATUS = {
    Outcome.COMPLETE: "FINISHED",
    # It ended as planned; shown as failed it made people look for an error. The tag says that it was pruned.
    Outcome.PRUNED: "FINISHED",
    Outcome.INTERRUPTED: "KILLED",
}
OUTCOME_TAG, REASON_TAG = "dmx.outcome", "dmx.reason"
PIN_TAG = "dmx.keep"
"""The tag by which a user has `dmx gc` keep a run's files."""


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
            RefusedError: It is no outage: the user has to do something.
        """
        if is_local(self._home) and file_of(self._home) != self._file:  # it was removed, or another one put there
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
            if isinstance(event, Measured):
                scalars.extend(metrics(event))
                continue
            self._send_metrics(scalars)
            scalars = []
            self._send_other(event)
        self._send_metrics(scalars)

    def close(self) -> None:
        """Nothing to close: MLflow shares its connections between all clients of a process."""

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
        """Whether a run that MLflow had is not there any more, not even among the deleted ones."""
        if "run" not in self._state:
            return False
        try:
            self._client.get_run(self._mlflow_id)
        except Exception as error:
            return is_missing(error)
        return False

    def _forget(self) -> None:
        """Have everything sent again: the store was removed, or the run in it for good."""
        self._state = {}
        state_file(self._folder).unlink(missing_ok=True)

    def _meant(self, error: Exception) -> Exception:
        """The error, in words that say what to do where it is no outage."""
        found = refusal(error, address(self._home), local=is_local(self._home))
        if found is None:
            return error
        if not found.unwanted and "run" in self._state:
            with suppress(Exception):  # then it is what it seems to be
                found = self._deleted() or found
        if found.unwanted:
            self._keep_state(deleted=True)
        return found

    def _deleted(self) -> RefusedError | None:
        return deleted(self._client, self._home, self._run_id, self._mlflow_id)

    def _keep_state(self, **changes: object) -> None:
        self._state |= {"store": place(self._home), **changes}
        replace_text(state_file(self._folder), json.dumps(self._state))

    def _send_metrics(self, scalars: Sequence["Metric"]) -> None:
        for some in chunks(scalars, 1000):  # the most that MLflow takes at once
            self._client.log_batch(self._mlflow_id, metrics=some, synchronous=True)  # whatever the environment says

    def _send_other(self, event: Event) -> None:
        match event:
            case Started():
                self._start(event)
            case Reopened():
                self._client.update_run(self._mlflow_id, "RUNNING")
                self._tag({**event.tags, OUTCOME_TAG: "running", REASON_TAG: ""})
            case Pictured():
                send_image(self._client, self._mlflow_id, self._folder, event)
            case Kept():
                path = self._folder / event.file
                if path.exists() and not linked(self._artifacts(), path, event.folder):  # it may have been removed
                    self._client.log_artifact(self._mlflow_id, str(path), event.folder or None)
            case Finished():
                self._tag({OUTCOME_TAG: event.outcome, REASON_TAG: event.reason})
                status = STATUS.get(Outcome(event.outcome), "FAILED")
                self._client.set_terminated(self._mlflow_id, status, end_time=event.time)

    def _artifacts(self) -> str:
        return str(self._client.get_run(self._mlflow_id).info.artifact_uri)

    def _start(self, event: Started) -> None:
        """Find or make the run: a crash may have come between making it and noting its id, so its tags are asked."""
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
        params = [Param(legal(key), str(value)[:LONGEST_PARAM]) for key, value in event.params.items()]
        for some in chunks(params, 100):  # the most that MLflow takes at once
            self._client.log_batch(self._mlflow_id, params=some, synchronous=True)
        if event.view is not None:
            self._client.set_experiment_tag(run.info.experiment_id, TAG, tag(View(**event.view), event.time))
        if event.inputs:
            self._client.log_inputs(self._mlflow_id, [dataset_input(given) for given in event.inputs])
        for name in event.files:
            self._client.log_artifact(self._mlflow_id, str(self._folder / name))

    def _create(self, group: str, event: Started) -> Any:
        tags = {legal(key): value[:LONGEST_TAG] for key, value in event.tags.items()}
        tags |= {RUN_TAG: self._run_id, OUTCOME_TAG: "running", "mlflow.source.name": "dmx"}
        tags |= {IDENTITY_TAG: event.identity} if event.identity else {}
        return self._client.create_run(group, start_time=event.time, tags=tags, run_name=event.name)

    def _mark(self, others: Sequence["Run"], mlflow_id: str) -> None:
        """Have runs of the same name say which one came after them; nothing else of them changes."""
        for run in others:
            if run.info.lifecycle_stage == "active" and REPLACED_TAG not in run.data.tags:
                self._client.set_tag(run.info.run_id, REPLACED_TAG, mlflow_id, synchronous=True)

    def _tag(self, tags: Mapping[str, str]) -> None:
        for key, value in tags.items():
            self._client.set_tag(self._mlflow_id, legal(key), value[:LONGEST_TAG], synchronous=True)


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items by `size`, the last ones fewer."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def linked(uri: str, path: Path, folder: str) -> bool:
    """Keep `path` in `folder` of a local artifact `uri` as a hard link, which takes no space.

    What a run has kept is replaced later on, never changed: so a link keeps the content that it was given.

    Returns:
        Whether it could be done.
    """
    place = urlsplit(uri)
    if place.scheme != "file" or not path.is_file():
        return False
    target = Path(unquote(place.path), folder, path.name)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        os.link(path, target)
    except OSError:  # another disk, or one that has no hard links
        return False
    return True


def pinned(home: Home) -> dict[str, str]:
    """The runs whose files are to be kept: tagged `dmx.keep` or behind a version of a registered model.

    Returns:
        The reason by the run's name.

    Raises:
        UserError: MLflow cannot be asked.
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
    except Exception as error:  # whatever a store or its server may raise
        raise UserError(
            f"which runs are to be kept stands in MLflow, and it cannot be asked ({explain_error(error, home)}); "
            "call the command again when it is there."
        ) from error


def artifact_copies(home: Home, run_id: str, name: str) -> Iterator[Path]:
    """Where a local MLflow has its copy of a run's file."""
    if (mlflow_id := read_state(home, run_id).get("run")) is not None:
        yield from home.artifacts.glob(f"*/{mlflow_id}/artifacts/{name}")


def place(home: Home) -> str:
    """Which store: a digest of the address, which may hold a password."""
    return hashlib.sha256(address(home).encode()).hexdigest()[:16]


def state_file(run: Path) -> Path:
    """The file that says how much of the journal MLflow has, and under which id."""
    return run / "mlflow.sent"


def read_state(home: Home, run_id: str) -> dict[str, Any]:
    """What is known of the run in the store at hand; another store knows nothing yet and gets everything."""
    try:
        state = json.loads(state_file(home.run(run_id)).read_text())
    except (FileNotFoundError, ValueError):  # a note that cannot be read is worth no more than none
        return {}
    known = isinstance(state, dict) and state.get("store") == place(home)
    return state if known and is_place(home.run(run_id) / JOURNAL, state.get("sent", 0)) else {}


def is_place(journal: Path, sent: object) -> bool:
    """Whether a line of the journal begins, or the journal ends, at that byte."""
    if not isinstance(sent, int) or not journal.exists() or not 0 <= sent <= journal.stat().st_size:
        return False
    with journal.open("rb") as lines:
        lines.seek(max(0, sent - 1))
        return sent == 0 or lines.read(1) == b"\n"


def sent(home: Home, run_id: str) -> int:
    """The journal's byte offset up to which MLflow has everything, as far as the run's folder knows."""
    return int(read_state(home, run_id).get("sent", 0))


def was_deleted(home: Home, run_id: str) -> bool:
    """Whether the run was deleted in MLflow before all of it was there."""
    return bool(read_state(home, run_id).get("deleted"))
