"""The journal of a run: its events in order, one JSON object per line. It is the authoritative record.

A line is passed to the operating system before `append` returns, so SIGKILL loses nothing. A power failure loses lines
that are not yet on disk; the forwarder flushes the journal to disk before it sends events to a store, so a store never
has events that the journal on disk lacks.
"""

import errno
import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from dmx.errors import DataError
from dmx.machine import BINARY
from dmx.outcome import Outcome
from dmx.registry.ranges import Scalar


def inside(path: str) -> str:
    """Check that a relative path stays inside the run's folder, and return it.

    Raises:
        ValueError: It does not.
    """
    if path.startswith("/") or ".." in path.split("/") or "\0" in path:
        raise ValueError(f"{path!r} leaves the run's folder")
    return path


Step = Annotated[int, Field(ge=0, lt=2**63)]
Inside = Annotated[str, AfterValidator(inside)]


def now() -> int:
    """Milliseconds since 1970, the unit of time in journal and MLflow."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, kw_only=True)
class Event:
    """An event, at `time` in milliseconds since 1970."""

    kind: ClassVar[str]
    time: Step = field(default_factory=now)


@dataclass(frozen=True, kw_only=True)
class Started(Event):
    """The run started: its data for MLflow, and the `files` that were written to its folder before step 0.

    Without `stores` the run is not forwarded.
    """

    kind: ClassVar[str] = "start"
    experiment: str
    name: str
    tags: Mapping[str, str]
    params: Mapping[str, Scalar]
    files: tuple[str, ...]
    stores: bool
    searched: Mapping[str, Scalar] = field(default_factory=dict)
    """The parameters that its study varies, under the study's names."""
    inputs: tuple[Mapping[str, str], ...] = ()
    """Parts of data sets: `name`, `digest`, `root`, `context`, and tags."""
    view: Mapping[str, Any] | None = None
    """The saved view of a study: a `dmx.tracking.mlflow_forms.View`."""
    identity: str = ""
    """A random id that distinguishes runs of the same name; older journals have none."""


@dataclass(frozen=True, kw_only=True)
class Reopened(Event):
    """The run was resumed."""

    kind: ClassVar[str] = "reopen"
    tags: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class MetricsLogged(Event):
    """Scalars at one step. NaN and infinities, which JSON lacks, are stored as strings that `float` parses."""

    kind: ClassVar[str] = "metrics"
    step: Step
    values: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class ImageLogged(Event):
    """A picture at one step; `file` is relative to the run's folder."""

    kind: ClassVar[str] = "image"
    step: Step
    key: str
    file: Inside


@dataclass(frozen=True, kw_only=True)
class CurveLogged(Event):
    """Numbers of pixels of object and rest that are predicted at thresholds k / n of the mask probability."""

    kind: ClassVar[str] = "curve"
    step: Step
    key: str
    hits: list[int]
    false: list[int]
    objects: int
    rest: int


@dataclass(frozen=True, kw_only=True)
class ArtifactLogged(Event):
    """A file or folder to log as an artifact under `folder`; `file` is relative to the run's folder."""

    kind: ClassVar[str] = "artifact"
    file: Inside
    folder: str


@dataclass(frozen=True, kw_only=True)
class Finished(Event):
    """The run ended with this outcome."""

    kind: ClassVar[str] = "finish"
    outcome: Annotated[str, AfterValidator(lambda text: Outcome(text).value)]
    reason: str
    tags: Mapping[str, str] = field(default_factory=dict)
    """Tags that follow from the result; older journals have none."""


KINDS: dict[str, type[Event]] = {
    cls.kind: cls for cls in (Started, Reopened, MetricsLogged, ImageLogged, CurveLogged, ArtifactLogged, Finished)
}

TYPED = {kind: TypeAdapter(cls) for kind, cls in KINDS.items()}
"""Validators that create events, by type."""


def encode(event: Event) -> bytes:
    """One line of JSON."""
    body: dict[str, Any] = {"kind": event.kind, **vars(event)}
    if isinstance(event, MetricsLogged):
        body["values"] = {key: v if math.isfinite(v) else str(v) for key, v in event.values.items()}
    return json.dumps(body, allow_nan=False, default=dict).encode() + b"\n"


def decode(line: bytes) -> Event:
    """The event of one line.

    Raises:
        ValueError: The line is not a complete event.
    """
    try:
        body = json.loads(line)
        kind = KINDS[body.pop("kind")]
        if unknown := body.keys() - {field.name for field in fields(kind)}:
            raise TypeError(f"unknown keys {', '.join(sorted(unknown))}")
        event: Event = TYPED[kind.kind].validate_python(body)
        return event
    except (KeyError, TypeError, AttributeError, RecursionError, ValidationError) as error:
        raise ValueError(f"not an event: {line[:80]!r}") from error


def read(path: Path, offset: int = 0) -> Iterator[tuple[Event, int]]:
    """The events from byte `offset` on, each with the offset after it; an incomplete last line is skipped.

    Raises:
        DataError: A line is not an event.
    """
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            try:
                event = decode(line)
            except ValueError as error:
                raise DataError(
                    f"{path}: the line at byte {offset} is not a journal entry ({error}); "
                    "restore the file from a copy, or remove the run's folder to begin again."
                ) from error
            offset += len(line)
            yield event, offset


def started(path: Path) -> Started | None:
    """The first event of a journal; None if there is no journal, or it does not begin with a `Started` event.

    Raises:
        DataError: The first line is not an event.
    """
    first = next(read(path), None) if path.is_file() else None
    return first[0] if first is not None and isinstance(first[0], Started) else None


class Journal:
    """A journal opened for appending; an incomplete last line, left by a kill or power failure, is removed first.

    Raises:
        DataError: The journal is damaged before its last line, or is not a journal; it is then left unchanged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | BINARY, 0o644)
        self.size = valid_length(path)
        if not self.size:
            refuse_other(path)
        for _, offset in read(path) if self.size else ():
            if offset == self.size:
                break
        os.ftruncate(self._fd, self.size)

    def append(self, event: Event) -> None:
        """Pass one line to the operating system.

        Raises:
            OSError: The disk is full; no part of the line is left in the file.
        """
        line = encode(event)
        if os.write(self._fd, line) < len(line):
            os.ftruncate(self._fd, self.size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        self.size += len(line)

    def close(self) -> None:
        """Flush to disk and close the file."""
        os.fsync(self._fd)
        os.close(self._fd)


def refuse_other(path: Path) -> None:
    """Check that a file without a complete line is a journal whose first line was cut off or never written.

    Raises:
        DataError: It is another kind of file.
    """
    data = path.read_bytes().strip(b"\0\n")
    if data and (b"\n" in data or not data.startswith(b'{"kind": "start"')):
        raise DataError(
            f"{path}: is no journal, for no line of it is an entry; restore the file from a copy, or remove the run's "
            "folder to begin again."
        )


def valid_length(path: Path) -> int:
    """The length in bytes of the journal without torn lines at its end."""
    data = path.read_bytes()
    end = data.rfind(b"\n") + 1
    while end:
        start = data.rfind(b"\n", 0, end - 1) + 1
        try:
            decode(data[start:end])
        except ValueError:
            end = start
        else:
            break
    return end
