"""MLflow, fed from the journal.

Everything that is sent may be sent again: MLflow ignores a metric whose key, value, time and step it has, parameters
and tags are set to the same value, pictures and artifacts overwrite files of the same name.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dmx.outcome import Outcome
from dmx.tracking.files import replace_text
from dmx.tracking.home import Home
from dmx.tracking.journal import Event, Finished, Kept, Measured, Pictured, Reopened, Started
from dmx.tracking.mlflow_client import address, connect, experiment
from dmx.tracking.mlflow_images import send_image
from dmx.tracking.mlflow_inputs import dataset_input
from dmx.tracking.mlflow_view import TAG, View, tag

if TYPE_CHECKING:
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

T = TypeVar("T")

STATUS = {
    Outcome.COMPLETE: "FINISHED",
    # It ended as planned; shown as failed it made people look for an error. The tag says that it was pruned.
    Outcome.PRUNED: "FINISHED",
    Outcome.INTERRUPTED: "KILLED",
}
RUN_TAG, OUTCOME_TAG, REASON_TAG = "dmx.run", "dmx.outcome", "dmx.reason"


class MlflowStore:
    """One run in MLflow."""

    def __init__(self, home: Home, run_id: str) -> None:
        self._home = home
        self._run_id = run_id
        self._folder = home.run(run_id)
        self._state = read_state(home, run_id)
        self._client: MlflowClient = connect(home)

    @property
    def sent(self) -> int:
        """The journal's byte offset up to which MLflow has everything."""
        return int(self._state.get("sent", 0))

    def send(self, events: Sequence[Event], end: int) -> None:
        """Send scalars in batches, everything else one by one, in the journal's order."""
        scalars: list[Metric] = []
        for event in events:
            if isinstance(event, Measured):
                scalars.extend(metrics(event))
                continue
            self._send_metrics(scalars)
            scalars = []
            self._send_other(event)
        self._send_metrics(scalars)
        self._keep_state(sent=end)

    def close(self) -> None:
        """Nothing to let go of: MLflow shares its connections between all clients of a process."""

    @property
    def _mlflow_id(self) -> str:
        return str(self._state["run"])

    def _keep_state(self, **changes: object) -> None:
        self._state |= {"store": place(self._home), **changes}
        replace_text(state_file(self._folder), json.dumps(self._state))

    def _send_metrics(self, scalars: Sequence["Metric"]) -> None:
        for some in chunks(scalars, 1000):  # the most that MLflow takes at once
            self._client.log_batch(self._mlflow_id, metrics=some)

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
                if path.exists():  # the user may have removed it to make room
                    self._client.log_artifact(self._mlflow_id, str(path), event.folder or None)
            case Finished():
                self._tag({OUTCOME_TAG: event.outcome, REASON_TAG: event.reason})
                status = STATUS.get(Outcome(event.outcome), "FAILED")
                self._client.set_terminated(self._mlflow_id, status, end_time=event.time)

    def _start(self, event: Started) -> None:
        """Find or make the run: a crash may have come between making it and noting its id, so its tag is asked."""
        from mlflow.entities import Param

        group = experiment(self._client, self._home, event.experiment)
        found = self._client.search_runs([group], f"tags.`{RUN_TAG}` = '{self._run_id}'", max_results=1)
        run = found[0] if found else self._create(group, event)
        self._keep_state(run=run.info.run_id)
        params = [Param(legal(key), str(value)[:6000]) for key, value in event.params.items()]
        for some in chunks(params, 100):  # the most that MLflow takes at once
            self._client.log_batch(self._mlflow_id, params=some)
        if event.view is not None:
            self._client.set_experiment_tag(group, TAG, tag(View(**event.view), event.time))
        if event.inputs:
            self._client.log_inputs(self._mlflow_id, [dataset_input(given) for given in event.inputs])
        for name in event.files:
            self._client.log_artifact(self._mlflow_id, str(self._folder / name))

    def _create(self, group: str, event: Started) -> Any:
        tags = {legal(key): value[:8000] for key, value in event.tags.items()}
        tags |= {RUN_TAG: self._run_id, OUTCOME_TAG: "running", "mlflow.source.name": "dmx"}
        return self._client.create_run(group, start_time=event.time, tags=tags, run_name=event.name)

    def _tag(self, tags: Mapping[str, str]) -> None:
        for key, value in tags.items():
            self._client.set_tag(self._mlflow_id, legal(key), value[:8000])


def metrics(event: Measured) -> Iterator["Metric"]:
    """The event's scalars as MLflow wants them."""
    from mlflow.entities import Metric

    for key, value in event.values.items():
        yield Metric(legal(key), value, event.time, event.step)


def legal(key: str) -> str:
    """The key without what MLflow refuses.

    >>> legal("val/silog[lambda=0.85]")
    'val/silog lambda 0.85'
    """
    return re.sub(r"[^\w\-. :/]+", " ", key, flags=re.ASCII).strip()


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
    file = state_file(home.run(run_id))
    state: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return state if state.get("store") == place(home) else {}


def sent(home: Home, run_id: str) -> int:
    """The journal's byte offset up to which MLflow has everything, as far as the run's folder knows."""
    return int(read_state(home, run_id).get("sent", 0))
