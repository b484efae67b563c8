"""The second training: `dmx train --resume` of the recorded code, in a results folder of its own.

The run's folder there is begun as the recorded one stood at step 0: its configuration, and the device settings with
which it began, which a resumed run keeps. Its journal says that it has no stores, so that nothing reaches MLflow.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from dmx.again.code import Code
from dmx.again.recorded import Recorded
from dmx.errors import MachineError, UserError
from dmx.experiment.initial_weights import weights_of_run
from dmx.experiment.run import UNFINISHED
from dmx.machine import apart, interrupt
from dmx.models.weights import is_path
from dmx.outcome import Outcome
from dmx.results.records import read_result
from dmx.stored import make_folder, replace_bytes, replace_text
from dmx.tracking.home import BEST_WEIGHTS, CONFIG, ENVIRONMENT, JOURNAL, RESULT, Home
from dmx.tracking.journal import Event, MetricsLogged, encode, read
from dmx.tracking.run import take_lock

Progress = Callable[[int, int], None]
LOG = "train.log"
"""What the second training said, in its results folder."""
POLL, PATIENCE = 0.1, 60.0
"""Seconds between two looks at the training, and for which it may take to stop."""
ELSEWHERE = ("MLFLOW_TRACKING_URI", "DMX_HOME", "MKL_NUM_THREADS")
"""Variables that would send the results to another place, or set another number of threads."""
STOPPED = (Outcome.PRUNED, Outcome.TIMED_OUT)
"""Outcomes decided by what is outside of the training: it is stopped at the step at which they were."""


@dataclass(frozen=True)
class Training:
    """The second training of a run.

    Attributes:
        record: The run.
        home: Its results folder.
        last: The last step in the recorded journal.
    """

    record: Recorded
    home: Home
    last: int

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.home.run(self.record.run)

    @property
    def early(self) -> bool:
        """Whether it is stopped before its configuration's end."""
        return self.record.result.outcome in STOPPED

    def begin(self, origin: Home) -> None:
        """Make the run's folder as it was before step 0, with the run that it starts from; `origin` has both."""
        record, start = self.record, self.record.config.get("start")
        if isinstance(start, str) and not is_path(start):
            weights_of_run(origin, start)  # raises
            for name in (CONFIG, RESULT, BEST_WEIGHTS):
                make_folder(self.home.run(start))
                shutil.copyfile(origin.run(start) / name, self.home.run(start) / name)
        for name in (CONFIG, ENVIRONMENT):
            replace_bytes(self.folder / name, (record.folder / name).read_bytes())
        tags = {key: value for key, value in record.start.tags.items() if key not in ("dmx.study", "dmx.trial")}
        head = replace(record.start, stores=False, files=(CONFIG, ENVIRONMENT), tags=tags | {"dmx.role": "run"})
        replace_bytes(self.folder / JOURNAL, encode(head))

    def ended(self) -> bool:
        """Whether it has come to its end."""
        found = read_result(self.folder)
        return found is not None and (found[0].outcome not in UNFINISHED or (self.early and self.is_past()))

    def is_past(self) -> bool:
        """Whether the journal has all of the recorded one."""
        return any(self.passes(event) for event, _ in read(self.folder / JOURNAL))

    def passes(self, event: Event) -> bool:
        """Whether all that was recorded came before this event, or with it."""
        if not isinstance(event, MetricsLogged):
            return False
        whole = event.values.get("epoch") == self.record.result.epochs and event.step == self.last
        return event.step > self.last or whole


def train(training: Training, code: Code, progress: Progress) -> None:
    """Train, going on where it was left.

    Args:
        training: The training, which has begun.
        code: What it runs.
        progress: Told the step and the number of steps.

    Raises:
        UserError: The training is refused, as by another data set that does not fit.
        MachineError: It failed.
    """
    with freed(training, progress):
        if training.ended():
            return
    log = training.home.root / LOG
    words = [sys.executable, "-P", "-m", "dmx", "train", "--resume", training.record.run]
    with log.open("ab") as file:
        before = file.tell()  # earlier attempts have said something, too
        process = subprocess.Popen(
            [*words, "--home", str(training.home.root)],
            env=environment(training.record, code),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            **apart(),
        )
    try:
        followed(training, process, progress)
    except BaseException:
        stop(process)
        raise
    if not training.ended():
        explain(process.returncode, log, before)


def environment(record: Recorded, code: Code) -> dict[str, str]:
    """The environment of the training: as here, with the recorded code and number of threads."""
    kept = {key: value for key, value in os.environ.items() if key not in ELSEWHERE}
    return kept | {"PYTHONPATH": os.pathsep.join(code.path), "OMP_NUM_THREADS": str(record.threads), "COLUMNS": "200"}


@contextmanager
def freed(training: Training, progress: Progress) -> Iterator[None]:
    """Wait while a training goes on whose command was killed, and hold off others within the context."""
    follower = Follower(training, progress)
    while True:
        try:
            lock = take_lock(training.folder, training.record.run, patience=0)
        except UserError:
            follower.look()
            time.sleep(POLL)
            continue
        break
    try:
        yield
    finally:
        lock.release()


class Follower:
    """Reads what a training appends to its journal."""

    def __init__(self, training: Training, progress: Progress) -> None:
        self.training, self.progress = training, progress
        self.offset, self.past = 0, False

    def look(self) -> None:
        """Read on, and report the step."""
        for event, after in read(self.training.folder / JOURNAL, self.offset):
            self.offset, self.past = after, self.past or self.training.passes(event)
            if isinstance(event, MetricsLogged):
                self.progress(min(event.step, self.training.last), self.training.last)


def followed(training: Training, process: subprocess.Popen[bytes], progress: Progress) -> None:
    """Wait for the end of a training; one that is to be stopped early is, once it has all that was recorded."""
    follower, asked = Follower(training, progress), False
    while process.poll() is None:
        follower.look()
        if training.early and follower.past and not asked:
            asked = True
            interrupt(process.pid)
        with suppress(subprocess.TimeoutExpired):
            process.wait(POLL)
    follower.look()


def stop(process: subprocess.Popen[bytes]) -> None:
    """Have the training write its checkpoint and end."""
    if process.poll() is None:
        interrupt(process.pid)
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)


def explain(code: int, log: Path, start: int) -> None:
    """Raise what keeps the training from its end, by what it has written to its log from byte `start` on.

    Raises:
        UserError: It was refused.
        MachineError: It failed.
    """
    said = log.read_bytes()[start:].decode(errors="replace")
    message = said.rpartition("Error: ")[2].strip() if "Error: " in said else said.strip().rpartition("\n")[2]
    if code == 2:
        raise UserError(f"the second training is refused: {message}")
    raise MachineError(
        f"the second training ended with exit code {code} ({message or 'without a word'}); {log} has all that it "
        "said. The same command goes on where it was left."
    )


def remember(path: Path, text: str) -> bool:
    """Whether a file has this text, or there is none, and it is written now."""
    if path.is_file():
        return path.read_text(encoding="utf-8") == text
    replace_text(path, text)
    return True
