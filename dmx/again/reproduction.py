"""A run trained again from what it recorded, and compared with it."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from filelock import FileLock, Timeout

from dmx.again.code import OWN, Code, restored
from dmx.again.comparison import Journals, Weights, compare_journals, compare_weights, scalars
from dmx.again.noise import noise
from dmx.again.recorded import Recorded, changed_identity, data_now, differences, recorded
from dmx.again.training import Progress, Training, remember, train
from dmx.errors import UserError
from dmx.outcome import Outcome
from dmx.results.records import read_result
from dmx.stored import make_folder, replace_text
from dmx.tracking.home import CHECKPOINT, JOURNAL, Home
from dmx.training.result import RunResult

Tell = Callable[[str], None]
Verdict = Literal["identical", "within noise", "different"]
REPRODUCTION, BEGUN = "reproduction.json", "begun.json"
"""In the folder of a reproduction: what came of it, written last; and what it began with."""
CODE = "code"
"""The recorded code, as long as it is needed."""


@dataclass(frozen=True)
class Found:
    """How a run and its second training compare.

    Attributes:
        verdict: What it comes to.
        why: The rule by which it does.
        metric: The objective.
        before: Its value at the run's best epoch.
        now: That of the second training.
        outcomes: How the two ended.
        journals: The journals, step by step.
        weights: The files of weights, by name; None if only one run has the file.
    """

    verdict: Verdict
    why: str
    metric: str
    before: float | None
    now: float | None
    outcomes: tuple[str, str]
    journals: Journals
    weights: dict[str, Weights | None]


@dataclass(frozen=True)
class Look:
    """The code for a run's second training, and what of all it depends on is not as recorded, a line each."""

    code: Code
    differences: tuple[str, ...]


def look(home: Home, record: Recorded, data: str, folder: Path) -> Look:
    """Check out a run's code in `folder`, and see what is another than it recorded.

    Args:
        home: The results folder.
        record: What the run recorded.
        data: The fingerprint of its data set as it is.
        folder: A new folder for the code.
    """
    code = restored(record.commit, record.diff, folder, (Path.cwd(), home.root, OWN))
    return Look(code, (*code.differences, *differences(record, data)))


def check(home: Home, run: str) -> Look:
    """See whether a run could be trained again as it was; nothing is left behind.

    Raises:
        UserError: There is no such run, or its record or data cannot be read.
    """
    record = recorded(home, run)
    data = data_now(record)
    with TemporaryDirectory(prefix="dmx-code-") as folder:
        return look(home, record, data, Path(folder) / CODE)


def reproduce(origin: Home, run: str, tolerance: float | None, tell: Tell, progress: Progress) -> tuple[Found, Path]:
    """Train a run again, going on where a second training was left, and compare the two.

    Args:
        origin: The results folder.
        run: The run.
        tolerance: How far the objective may be off, as a share of its value; None: what other seeds say.
        tell: Called with each line that is known before the training.
        progress: Told the step and the number of steps.

    Returns:
        How they compare, and the file that keeps it.

    Raises:
        UserError: The run cannot be trained again; nothing is written.
        MachineError: The second training failed; the same command goes on.
    """
    record = recorded(origin, run)
    data = data_now(record)
    last = max(scalars(record.folder / JOURNAL), default=record.result.steps)
    for root in places(origin, run):
        with held(root, run):
            if remember(root / BEGUN, beginning(record, data)):
                training = Training(record, Home(root), last)
                return trained_again(
                    origin, training, look(origin, record, data, root / CODE), tolerance, tell, progress
                )
    raise AssertionError("there is always another place")


def trained_again(
    origin: Home, training: Training, seen: Look, tolerance: float | None, tell: Tell, progress: Progress
) -> tuple[Found, Path]:
    """Train, compare, and keep what came of it."""
    record, root = training.record, training.home.root
    tell(f"code: {seen.code.said}")
    for line in seen.differences:
        tell(f"not as recorded: {line}")
    if not (training.folder / JOURNAL).is_file():
        training.begin(origin)
    train(training, seen.code, progress)
    stored = read_result(training.folder)
    assert stored is not None  # `train` raises where it has no end
    late = tuple(changed_identity(record, stored[1]))
    for line in late:
        tell(f"not as recorded: {line}")
    found = compared(origin, training, stored[0], tolerance)
    kept = {
        "run": record.run,
        **asdict(found),
        "code": seen.code.said,
        "not_as_recorded": [*seen.differences, *late],
    }
    for path in (root / CODE, training.home.packs):  # both can be had again
        shutil.rmtree(path, ignore_errors=True)
    replace_text(root / REPRODUCTION, json.dumps(finite(kept), indent=1))
    return found, root / REPRODUCTION


def places(home: Home, run: str) -> Iterator[Path]:
    """The folders for a reproduction of a run: those that are not finished, in order, and then new ones."""
    number = 1
    while True:
        root = home.reproductions / f"{run}-{number}"
        if not (root / REPRODUCTION).is_file():
            yield root
        number += 1


@contextmanager
def held(root: Path, run: str) -> Iterator[None]:
    """Keep a reproduction's folder for this command; where it is refused, a new folder is removed.

    Raises:
        UserError: Another process has it, or what is done within the context is refused.
    """
    new = not root.exists()
    make_folder(root)
    try:
        with FileLock(root / "lock", timeout=0):
            yield
    except Timeout:
        raise UserError(
            f"another process reproduces run {run} at this moment; wait until it has ended, or stop it."
        ) from None
    except UserError:
        if new:
            shutil.rmtree(root)
            with suppress(OSError):  # it has others
                root.parent.rmdir()
        raise


def beginning(record: Recorded, data: str) -> str:
    """What a second training begins with, by which it is known again; `data` is the data set's fingerprint."""
    diff = hashlib.sha256(record.diff.encode()).hexdigest()
    began = {"run": record.run, "identity": record.start.identity, "commit": record.commit, "diff": diff, "data": data}
    return json.dumps(began, indent=1)


def finite(value: Any) -> Any:
    """Plain data with texts in place of numbers that JSON lacks, as in a journal."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return str(value) if isinstance(value, float) and not isfinite(value) else value


def compared(origin: Home, training: Training, again: RunResult, tolerance: float | None) -> Found:
    """Compare a run and its second training."""
    record, first = training.record, training.record.result
    one, two = (scalars(folder / JOURNAL) for folder in (record.folder, training.folder))
    if training.early:
        two = {step: values for step, values in two.items() if step <= training.last}
        one = {step: without_end(values) for step, values in one.items()}
        two = {step: without_end(values) for step, values in two.items()}
    journals = compare_journals(one, two)
    weights = compare_weights(record.folder, training.folder)
    if training.early:
        weights.pop(CHECKPOINT, None)  # of different steps
    metric = str(record.start.params["objective.metric"])
    values = value_of(first), value_of(again)
    same_end = training.early or first.outcome == again.outcome
    verdict, why = judged(origin, record, (journals, weights, same_end), values, tolerance)
    return Found(verdict, why, metric, *values, (str(first.outcome), str(again.outcome)), journals, weights)


def value_of(result: RunResult) -> float | None:
    """The objective at the best epoch."""
    return result.best.value if result.best else None


def without_end(values: dict[str, float]) -> dict[str, float]:
    """Values without those that are logged at a run's end."""
    return {name: value for name, value in values.items() if not name.startswith("val_best/")}


def judged(
    origin: Home,
    record: Recorded,
    found: tuple[Journals, dict[str, Weights | None], bool],
    values: Sequence[float | None],
    tolerance: float | None,
) -> tuple[Verdict, str]:
    """The verdict, and the rule that it follows from."""
    journals, weights, same_end = found
    if not journals.names and not any(weights.values()):
        return "different", "they have no value and no file of weights in common, so nothing was compared"
    if same_end and journals.parting is None and not any(one and one.differing for one in weights.values()):
        return "identical", "every value and every tensor that both have is equal, bit by bit"
    if not same_end:
        return "different", "they ended differently"
    first, second = values
    if first is None or second is None or record.result.outcome is not Outcome.COMPLETE:
        return "different", "a run that is not complete has no noise to be compared with"
    known = noise(origin, record.run, first, tolerance)
    if isinstance(known, str):
        return "different", known
    inside = known.low <= second <= known.high
    interval = f"{known.low:.6g} to {known.high:.6g}, {known.rule}"
    return ("within noise", f"inside {interval}") if inside else ("different", f"outside of {interval}")
