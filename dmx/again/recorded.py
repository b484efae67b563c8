"""What a run recorded before its first step, and what of it is another now."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmx.data.layout import read
from dmx.errors import DataError, UserError
from dmx.outcome import Outcome
from dmx.results.records import ended, kept_yaml
from dmx.stored import read_mapping
from dmx.tracking.environment import facts
from dmx.tracking.home import CONFIG, DIFF, ENVIRONMENT, IDENTITY, JOURNAL, Home
from dmx.tracking.journal import Started, started
from dmx.training.result import RunResult
from dmx.written import place

ENDS = (Outcome.COMPLETE, Outcome.PRUNED, Outcome.DIVERGED, Outcome.UNDEFINED, Outcome.TIMED_OUT)
"""Outcomes that the training itself led to."""
MACHINE = ("platform", "cpu", "cores", "gpus", "cuda")
COMMIT = "mlflow.source.git.commit"
ADVICE = "restore it from a copy, or name another run."


@dataclass(frozen=True)
class Recorded:
    """The record of a run that has ended.

    Attributes:
        run: Its name.
        folder: Its folder.
        config: Its configuration, as it was written.
        environment: Packages, machine, and how it used its device.
        identity: Fingerprints of data, split, metrics and files of weights.
        start: The first event of its journal.
        diff: The diff of the code from its commit.
        result: What came of it.
    """

    run: str
    folder: Path
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    identity: Mapping[str, Any]
    start: Started
    diff: str
    result: RunResult

    @property
    def commit(self) -> str | None:
        """The git commit of the code."""
        return self.start.tags.get(COMMIT)

    @property
    def threads(self) -> int:
        """With how many threads torch computed."""
        return int(self.environment["threads"])


def recorded(home: Home, run: str) -> Recorded:
    """Read the record of a run.

    Raises:
        UserError: There is no such run, it has not ended, a failure ended it, or its record is damaged.
    """
    if run not in home.runs_with(CONFIG):
        raise home.no_run(run)
    folder, result = home.run(run), ended(home, run)
    if result.outcome not in ENDS:
        raise UserError(
            f"run {run} has the outcome {result.outcome}, which says nothing about its training; name a run that was "
            "trained to its end."
        )
    start = started(folder / JOURNAL)
    if start is None:
        raise UserError(f"{folder / JOURNAL} is gone; {ADVICE}")
    if not result.steps:
        raise UserError(f"run {run} was never trained ({result.reason or result.outcome}); name another run.")
    diff = folder / DIFF
    environment = read_mapping(folder / ENVIRONMENT, ADVICE, "threads", "packages", "execution")
    identity = read_mapping(folder / IDENTITY, ADVICE, "data")
    text = diff.read_bytes().decode() if diff.is_file() else ""  # bytes: line ends belong to a diff
    return Recorded(run, folder, kept_yaml(folder / CONFIG), environment, identity, start, text, result)


def data_now(record: Recorded) -> str:
    """The fingerprint of the run's data set as it is.

    Raises:
        DataError: It cannot be read.
    """
    root = place(str(record.config["data"]["root"]))
    try:
        return read(root).fingerprint()
    except DataError as error:
        hint = "" if root.is_absolute() else f" The path is relative: run {record.run} was started in another folder?"
        raise DataError(f"{error}{hint}") from error


def differences(record: Recorded, data: str) -> Iterator[str]:
    """Say of data, packages and machine what is not as recorded, a line each.

    Args:
        record: The run.
        data: The fingerprint of its data set as it is.
    """
    before, now = record.environment, facts()
    if data != record.identity["data"]:
        yield (
            f"data: {record.config['data']['root']} has the fingerprint {data[:8]}, recorded was "
            f"{str(record.identity['data'])[:8]}: samples or pictures were added, removed or written anew"
        )
    if before.get("python") != now["python"]:
        yield f"packages: python {now['python']}, recorded was {before.get('python')}"
    packages = now["packages"]
    assert isinstance(packages, dict)
    for name in sorted({*before["packages"], *packages}):
        was, here = (found.get(name, "missing") for found in (before["packages"], packages))
        if was != here:
            yield f"packages: {name} {here}, recorded was {was}"
    for fact in MACHINE:
        if before.get(fact) != now[fact]:
            yield f"machine: {fact} {shown(now[fact])}, recorded was {shown(before.get(fact))}"


def shown(value: Any) -> str:
    """A fact in words."""
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


def changed_identity(record: Recorded, again: Mapping[str, Any]) -> Iterator[str]:
    """Say what of data, split, size, metrics and weights was another in the second training.

    Args:
        record: The run.
        again: The identity of the second training.
    """
    for what, was in record.identity.items():
        now = again.get(what)
        if what == "definitions" and isinstance(was, dict) and isinstance(now, dict):
            names = sorted(name for name in was.keys() & now.keys() if was[name] != now[name])
            if names:
                yield f"metrics: another definition of {', '.join(names)}"
        elif what == "weights" and isinstance(was, dict) and was != now:
            yield f"weights: another content of what {' and '.join(sorted(was))} names"
        elif what in ("split", "size") and was != now:
            yield f"{what}: {shown(now)}, recorded was {shown(was)}"
