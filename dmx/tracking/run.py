"""One run: its folder and its journal, which the forwarder sends to MLflow and TensorBoard."""

import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
from filelock import BaseFileLock, FileLock, Timeout
from jaxtyping import UInt8

from dmx.errors import UserError
from dmx.outcome import Outcome
from dmx.stored import make_folder, replace_bytes, replace_text, replacing
from dmx.tracking.forwarder import unsent
from dmx.tracking.forwarder_client import forwarder
from dmx.tracking.home import JOURNAL, Home
from dmx.tracking.journal import (
    ArtifactLogged,
    CurveLogged,
    Finished,
    ImageLogged,
    Journal,
    MetricsLogged,
    Reopened,
    Started,
    read,
    started,
)
from dmx.tracking.system import SystemMetricsSampler
from dmx.tracking.tracker import RunStart, Tracker


class RunTracker(Tracker):
    """Writes one run's journal; created by `open_run`."""

    def __init__(
        self, home: Home, run_id: str, journal: Journal, last: dict[str, int], lock: BaseFileLock, *, stores: bool
    ) -> None:
        self.folder = home.run(run_id)
        self._home, self._run_id = home, run_id
        self._journal = journal
        self._lock = lock
        self._last = last
        self._stores = stores
        self._system_metrics = SystemMetricsSampler()
        if stores:
            forwarder().open(home, run_id)

    def log(self, step: int, values: Mapping[str, float | int]) -> None:
        """Record scalars at an optimizer step; a key's steps at or below its last one are ignored."""
        last = self._last
        load = self._system_metrics.read()
        both = {**values, **load} if load else values
        new = {key: float(value) for key, value in both.items() if step > last.get(key, -1)}
        if new:
            self._journal.append(MetricsLogged(step=step, values=new))
            last.update(dict.fromkeys(new, step))

    def image(self, step: int, key: str, picture: UInt8[np.ndarray, "H W 3"]) -> None:
        """Record an RGB picture; a key's steps at or below its last one are ignored."""
        if step <= self._last.get(f"image {key}", -1):
            return
        file = f"images/{key}/{step:08d}.png"
        bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        replace_bytes(self.folder / file, cv2.imencode(".png", bgr, (cv2.IMWRITE_PNG_COMPRESSION, 1))[1].tobytes())
        self._journal.append(ImageLogged(step=step, key=key, file=file))
        self._last[f"image {key}"] = step

    def curve(self, step: int, key: str, hits: Sequence[int], false: Sequence[int], totals: tuple[int, int]) -> None:
        """Record a curve over thresholds; a key's steps at or below its last one are ignored."""
        if step > self._last.get(f"curve {key}", -1):
            objects, rest = totals
            self._journal.append(
                CurveLogged(step=step, key=key, hits=[*hits], false=[*false], objects=objects, rest=rest)
            )
            self._last[f"curve {key}"] = step

    def artifact(self, path: Path, folder: str = "") -> None:
        """Log a file or a folder as an artifact under `folder`; paths outside the run's folder are copied into it."""
        path = path.resolve()
        if not path.is_relative_to(self.folder):
            path = copied(path, self.folder / "artifacts" / folder)
        self._journal.append(ArtifactLogged(file=path.relative_to(self.folder).as_posix(), folder=folder))

    def finish(
        self, outcome: Outcome, reason: str, patience: float = 30.0, *, tags: Mapping[str, str] | None = None
    ) -> int:
        """Close the run with its outcome, and wait while events are being sent to MLflow and TensorBoard.

        Args:
            outcome: How it ended; a run may be opened again whatever the outcome.
            reason: An explanation of the outcome.
            patience: Seconds without progress after which the remaining events are left for a later `sync`.
            tags: Tags that follow from the result; an empty text takes the place of an earlier one.

        Returns:
            The number of events not yet sent to MLflow and TensorBoard.
        """
        self._journal.append(Finished(outcome=outcome.value, reason=reason, tags=dict(tags or {})))
        self._journal.close()
        try:
            if not self._stores:
                return 0
            forwarder().finish(self._home, self._run_id, patience)
            return unsent(self._home, self._run_id)
        finally:
            self._lock.release()


def open_run(home: Home, run_id: str, start: RunStart, *, stores: bool = True) -> RunTracker:
    """Start a run, or resume it if its journal exists.

    Args:
        home: The results folder.
        run_id: The run's name in `home`.
        start: Its description; on resuming, only the tags are used.
        stores: Whether it is forwarded to MLflow and TensorBoard; a run that began without stores is not.

    Raises:
        UserError: Another process is writing the run.
        DataError: The journal is damaged.
    """
    home = Home(home.root.resolve())  # absolute, so that the forwarder finds it even if the working directory changes
    folder = home.run(run_id)
    lock = take_lock(folder, run_id, patience=10.0)
    journal = Journal(folder / JOURNAL)
    last = last_steps(journal.path)  # before anything is appended: a damaged journal raises
    if journal.size:
        before = started(journal.path)
        stores = stores and before is not None and before.stores  # as it began: nothing is sent of one without stores
        journal.append(Reopened(tags=start.tags))
    else:
        set_aside(home.tensorboard(run_id))
        begin(journal, folder, start, stores)
    return RunTracker(home, run_id, journal, last, lock, stores=stores)


def begin(journal: Journal, folder: Path, start: RunStart, stores: bool) -> None:
    """Write the first files, then the journal's first line, so that every file named in it exists."""
    for name, text in start.files.items():
        replace_text(folder / name, text)
    head = Started(
        experiment=start.experiment,
        name=start.name,
        tags=dict(start.tags),
        params=dict(start.params),
        files=tuple(start.files),
        stores=stores,
        searched=dict(start.searched),
        inputs=tuple(start.inputs),
        view=asdict(start.view) if start.view else None,
        identity=uuid.uuid4().hex,
    )
    journal.append(head)


def set_aside(logdir: Path) -> None:
    """Rename the TensorBoard folder of an earlier run with this name, whose run folder was removed."""
    number = 1
    while (aside := logdir.with_name(f"{logdir.name}.before-{number}")).exists():
        number += 1
    if logdir.is_dir():
        logdir.rename(aside)


def take_lock(folder: Path, run_id: str, patience: float) -> BaseFileLock:
    """Lock the run for writing; the operating system releases the lock when the process dies.

    Raises:
        UserError: Another process holds the lock for `patience` seconds.
    """
    make_folder(folder)
    lock = FileLock(folder / "lock", timeout=patience, thread_local=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise UserError(
            f"run '{run_id}' is being written by another process; wait until that has ended, or stop it, "
            "and start again."
        ) from error
    return lock


def last_steps(journal: Path) -> dict[str, int]:
    """The last step by key: of each scalar, and as `image KEY` and `curve KEY` of each picture and curve."""
    last: dict[str, int] = {}
    for event, _ in read(journal):
        if isinstance(event, MetricsLogged):
            last.update(dict.fromkeys(event.values, event.step))
        elif isinstance(event, ImageLogged):
            last[f"image {event.key}"] = event.step
        elif isinstance(event, CurveLogged):
            last[f"curve {event.key}"] = event.step
    return last


def copied(path: Path, folder: Path) -> Path:
    """Copy a file or folder into `folder` and return the copy's path."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / path.name
    if path.is_dir():
        shutil.copytree(path, target, dirs_exist_ok=True)
    else:
        with replacing(target) as part:
            shutil.copyfile(path, part)
    return target
