"""MLflow, fed from the journal.

Everything that is sent may be sent again: MLflow ignores a metric whose key, value, time and step it has, parameters
and tags are set to the same value, pictures and artifacts overwrite files of the same name.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dmx.outcome import Outcome
from dmx.tracking.files import linked, replace_text
from dmx.tracking.home import Home
from dmx.tracking.journal import JOURNAL, Event, Finished, Kept, Measured, Pictured, Reopened, Started
from dmx.tracking.mlflow_client import address, connect, experiment, file_of, is_local
from dmx.tracking.mlflow_images import send_image
from dmx.tracking.mlflow_inputs import dataset_input
from dmx.tracking.mlflow_refusals import deleted_experiment, deleted_run, is_missing, refusal
from dmx.tracking.mlflow_runs import IDENTITY_TAG, REPLACED_TAG, RUN_TAG, identified, named, ours
from dmx.tracking.mlflow_view import TAG, View, tag
from dmx.tracking.store import RefusedError

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
LONGEST_KEY, LONGEST_TAG, LONGEST_PARAM = 250, 8000, 6000
"""Characters that MLflow takes."""


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
            RefusedError: It is no outage; somebody has to do something.
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
        """Nothing to let go of: MLflow shares its connections between all clients of a process."""

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
        """Who was deleted in MLflow, if the run or its experiment was."""
        run = self._client.get_run(self._mlflow_id)
        group = self._client.get_experiment(run.info.experiment_id)
        if group.lifecycle_stage == "deleted":
            return deleted_experiment(address(self._home), group.name, group.experiment_id)
        if run.info.lifecycle_stage == "deleted":
            return deleted_run(address(self._home), self._run_id, self._mlflow_id)
        return None

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

        run = identified(self._client, event.identity) if event.identity else None
        if run is None:
            group = experiment(self._client, self._home, event.experiment)
            others = named(self._client, group, self._run_id)
            run = ours(others, event)
            if run is None:
                run = self._create(group, event)
                self._mark(others, run.info.run_id)
        self._keep_state(run=run.info.run_id)
        if run.info.lifecycle_stage == "deleted":
            raise self._deleted() or deleted_run(address(self._home), self._run_id, self._mlflow_id)
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


def metrics(event: Measured) -> Iterator["Metric"]:
    """The event's scalars as MLflow wants them."""
    from mlflow.entities import Metric

    for key, value in event.values.items():
        yield Metric(legal(key), value, event.time, event.step)


def legal(key: str) -> str:
    """The key without what MLflow refuses; a digest stands for what is too long, and where nothing is left.

    >>> legal("val/silog[lambda=0.85]")
    'val/silog lambda 0.85'
    >>> legal("../a//b/")
    'a/b'
    >>> legal("ü")
    '607474ca'
    >>> len(legal("a" * 300))
    250
    """
    text = re.sub(r"[^\w\-. :/]+", " ", key, flags=re.ASCII)
    parts = [part for part in text.split("/") if part.strip() not in ("", ".", "..")]
    text = "/".join(parts).strip()
    if text and len(text) <= LONGEST_KEY:
        return text
    return f"{text[: LONGEST_KEY - 9]} {hashlib.sha256(key.encode()).hexdigest()[:8]}".strip()


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items by `size`, the last ones fewer."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


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
    """Whether somebody deleted the run in MLflow before all of it was there."""
    return bool(read_state(home, run_id).get("deleted"))
