"""One run: its folder and its journal, which the forwarder carries to MLflow and TensorBoard."""

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
from dmx.tracking.journal import Curved, Finished, Journal, Kept, Measured, Pictured, Reopened, Started, read
from dmx.tracking.system import Meter
from dmx.tracking.tracker import RunStart


class RunTracker:
    """Writes one run's journal; made by `open_run`."""

    def __init__(
        self, home: Home, run_id: str, journal: Journal, last: dict[str, int], lock: BaseFileLock, *, stores: bool
    ) -> None:
        self.folder = home.run(run_id)
        self._home, self._run_id = home, run_id
        self._journal = journal
        self._lock = lock
        self._last = last
        self._stores = stores
        self._meter = Meter()
        if stores:
            forwarder().open(home, run_id)

    def log(self, step: int, values: Mapping[str, float | int]) -> None:
        """Record scalars at an optimizer step; a key's steps at or below its last one are ignored."""
        last = self._last
        load = self._meter.read()
        both = {**values, **load} if load else values
        new = {key: float(value) for key, value in both.items() if step > last.get(key, -1)}
        if new:
            self._journal.append(Measured(step=step, values=new))
            last.update(dict.fromkeys(new, step))

    def image(self, step: int, key: str, picture: UInt8[np.ndarray, "H W 3"]) -> None:
        """Record an RGB picture; a key's steps at or below its last one are ignored."""
        if step <= self._last.get(f"image {key}", -1):
            return
        file = f"images/{key}/{step:08d}.png"
        bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        replace_bytes(self.folder / file, cv2.imencode(".png", bgr, (cv2.IMWRITE_PNG_COMPRESSION, 1))[1].tobytes())
        self._journal.append(Pictured(step=step, key=key, file=file))
        self._last[f"image {key}"] = step

    def curve(self, step: int, key: str, hits: Sequence[int], false: Sequence[int], totals: tuple[int, int]) -> None:
        """Record a curve over thresholds; a key's steps at or below its last one are ignored."""
        if step > self._last.get(f"curve {key}", -1):
            objects, rest = totals
            self._journal.append(Curved(step=step, key=key, hits=[*hits], false=[*false], objects=objects, rest=rest))
            self._last[f"curve {key}"] = step

    def artifact(self, path: Path, folder: str = "") -> None:
        """Keep a file or a folder with the run, under `folder`; what lies outside the run's folder is copied there."""
        path = path.resolve()
        if not path.is_relative_to(self.folder):
            path = copied(path, self.folder / "artifacts" / folder)
        self._journal.append(Kept(file=path.relative_to(self.folder).as_posix(), folder=folder))

    def finish(self, outcome: Outcome, reason: str, patience: float = 30.0) -> int:
        """Close the run with its outcome, and wait as long as events get through to MLflow and TensorBoard.

        Args:
            outcome: How it ended; a run may be opened again whatever the outcome.
            reason: In words.
            patience: Seconds without anything going through after which a store is left for a later `sync`.

        Returns:
            The number of events that the stores still lack.
        """
        self._journal.append(Finished(outcome=outcome.value, reason=reason))
        self._journal.close()
        try:
            if not self._stores:
                return 0
            forwarder().finish(self._home, self._run_id, patience)
            return unsent(self._home, self._run_id)
        finally:
            self._lock.release()


def open_run(home: Home, run_id: str, start: RunStart, *, stores: bool = True) -> RunTracker:
    """Begin the run, or go on with it if its journal is there already.

    Args:
        home: Where runs and stores are.
        run_id: The run's own name in `home`.
        start: What is known of it; when it goes on, only the tags are taken from here.
        stores: Whether it is forwarded to MLflow and TensorBoard.

    Raises:
        UserError: Another process writes the run.
        DataError: The journal is damaged.
    """
    home = Home(home.root.resolve())  # the forwarder must find it whatever the process's folder becomes
    folder = home.run(run_id)
    lock = take_lock(folder, run_id, patience=10.0)
    journal = Journal(folder / JOURNAL)
    last = last_steps(journal.path)  # before anything is appended: it may be damaged
    if journal.size:
        journal.append(Reopened(tags=start.tags))
    else:
        set_aside(home.tensorboard(run_id))
        begin(journal, folder, start, stores)
    return RunTracker(home, run_id, journal, last, lock, stores=stores)


def begin(journal: Journal, folder: Path, start: RunStart, stores: bool) -> None:
    """Write the first files, then the journal's first line, so that every file that it names exists."""
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
    """Give what TensorBoard has of another run of this name a name of its own: that run's folder was removed."""
    number = 1
    while (aside := logdir.with_name(f"{logdir.name}.before-{number}")).exists():
        number += 1
    if logdir.is_dir():
        logdir.rename(aside)


def take_lock(folder: Path, run_id: str, patience: float) -> BaseFileLock:
    """Lock the run for writing; the system releases the lock when the process dies.

    Raises:
        UserError: Another process has it, and keeps it for `patience` seconds.
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
    """The last step of each scalar and, as `image KEY` and `curve KEY`, of each picture and curve."""
    last: dict[str, int] = {}
    for event, _ in read(journal):
        if isinstance(event, Measured):
            last.update(dict.fromkeys(event.values, event.step))
        elif isinstance(event, Pictured):
            last[f"image {event.key}"] = event.step
        elif isinstance(event, Curved):
            last[f"curve {event.key}"] = event.step
    return last


def copied(path: Path, folder: Path) -> Path:
    """A copy of a file or folder in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / path.name
    if path.is_dir():
        shutil.copytree(path, target, dirs_exist_ok=True)
    else:
        with replacing(target) as part:
            shutil.copyfile(path, part)
    return target
