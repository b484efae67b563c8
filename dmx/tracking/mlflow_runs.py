"""Runs as MLflow has them: which one is ours, and whether it still is what was sent."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse
from urllib.request import url2pathname

from dmx.tracking.journal import Started

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

RUN_TAG, IDENTITY_TAG, REPLACED_TAG = "dmx.run", "dmx.identity", "dmx.replaced_by"


def named(client: "MlflowClient", group: str, run_id: str) -> list["Run"]:
    """The runs of this name in an experiment, deleted ones too.

    There are several where a run's folder was removed and the run begun anew.
    """
    return [*all_runs(client, [group], f"tags.`{RUN_TAG}` = '{run_id}'", deleted=True)]


def identified(client: "MlflowClient", identity: str) -> "Run | None":
    """The run with this identity, in whichever experiment it is now: people rename them, and move on."""
    found = all_runs(client, every_group(client), f"tags.`{IDENTITY_TAG}` = '{identity}'", deleted=True)
    return next(iter(found), None)


def run_of(client: "MlflowClient", start: Started, run_id: str, group: Callable[[], str]) -> "Run | None":
    """MLflow's run of one of ours, wherever it is; one without an identity is looked for by name in its experiment."""
    if start.identity:
        return identified(client, start.identity)
    return ours(named(client, group(), run_id), start)


def ours(runs: Sequence["Run"], start: Started) -> "Run | None":
    """The run of `runs` that is this one, from before runs had an identity, by when it began."""
    for run in runs:
        if not start.identity and IDENTITY_TAG not in run.data.tags and run.info.start_time == start.time:
            return run
    return None


def all_runs(client: "MlflowClient", groups: Sequence[str], condition: str, *, deleted: bool) -> Iterator["Run"]:
    """Every run of some experiments that fulfils a condition."""
    from mlflow.entities import ViewType

    view = ViewType.ALL if deleted else ViewType.ACTIVE_ONLY
    token = None
    while groups:
        page = client.search_runs([*groups], condition, run_view_type=view, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def every_run(client: "MlflowClient") -> dict[str, "Run"]:
    """Every run that MLflow has, deleted ones too, by its id."""
    return {run.info.run_id: run for run in all_runs(client, every_group(client), "", deleted=True)}


def every_group(client: "MlflowClient") -> list[str]:
    """Every experiment, deleted ones too, by its id."""
    from mlflow.entities import ViewType

    groups: list[str] = []
    token = None
    while True:
        page = client.search_experiments(view_type=ViewType.ALL, page_token=token)
        groups += [one.experiment_id for one in page]
        token = page.token
        if not token:
            return groups


def is_whole(run: "Run", start: Started) -> bool:
    """Whether MLflow's run of a run that has ended is as it was sent: ended, and its artifacts are there.

    It is not where an older copy of the store was put back. What somebody deleted is not looked at.
    """
    where = urlparse(run.info.artifact_uri or "")
    there = where.scheme != "file" or not start.files or Path(url2pathname(where.path)).exists()
    return run.info.lifecycle_stage == "deleted" or (run.info.status != "RUNNING" and there)
