"""Stored records of finished runs and of chosen champions."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from dmx.config import Objective
from dmx.errors import UserError
from dmx.outcome import Outcome
from dmx.registry import Scalar
from dmx.stored import intact, read_mapping
from dmx.tracking.home import RESULT, Home
from dmx.training.result import RunResult
from dmx.written import read_yaml


class Record(BaseModel):
    """What of a record is read again; records of older versions may lack what has a default."""

    tags: dict[str, str]
    params: dict[str, Scalar]
    objective: Objective
    data: str = ""
    split: str = ""
    size: tuple[int, int] = (0, 0)
    definitions: dict[str, Any] = {}
    parameters: int = 0
    multiply_adds: int = 0
    memory_mb: float = 0.0
    latency_ms: float = 0.0


class Chosen(BaseModel):
    """The champion of `train-best`, its metrics on test and when test was read; None if the split has no test part.

    Test results of earlier champions are kept as well. `identity` identifies the run behind the name and its samples:
    for a run that was removed and trained again on other data, test counts as not read.
    """

    champion: str
    identity: dict[str, str] | None = None
    test: dict[str, float | None] | None
    when: str | None = None
    earlier: list["Chosen"] = []


def read_result(folder: Path) -> tuple[RunResult, dict[str, Any]] | None:
    """Read a run's stored result and the record that contains it; None while the run has not finished.

    Raises:
        UserError: The file is damaged.
    """
    path = folder / RESULT
    if not path.exists():
        return None
    advice = f"restore it from a copy, or remove {folder}, and the same command trains the run again."
    record = read_mapping(path, advice)
    with intact(path, advice):
        Record.model_validate(record)
        return RunResult.from_dict(record), record


def ended(home: Home, run: str) -> RunResult:
    """The result of a run, which must have ended: until then its best weights may change.

    Raises:
        UserError: The run has not ended.
    """
    found = read_result(home.run(run))
    if found is None or found[0].outcome is Outcome.INTERRUPTED:
        raise UserError(f"run {run} has not ended, and its best weights may still change; let it end first.")
    return found[0]


def read_chosen(path: Path) -> Chosen | None:
    """Read the choice of `train-best`; None before it has been made.

    Raises:
        UserError: The file is damaged.
    """
    if not path.exists():
        return None
    advice = "restore it from a copy; without it the same `dmx train-best` reads test once more."
    with intact(path, advice):
        return Chosen.model_validate(read_mapping(path, advice))


def kept_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that a run writes before its first step.

    Raises:
        UserError: The file is missing or damaged.
    """
    _refuse_gone(path)
    return read_yaml(path)


def _refuse_gone(path: Path) -> None:
    if not path.is_file():
        raise UserError(
            f"{path} is gone, though its run wrote it at its start: bring it back from a copy, or name another run."
        )


def kept_text(path: Path) -> str:
    """Read a text file that a run writes before its first step.

    Raises:
        UserError: The file is missing or damaged.
    """
    _refuse_gone(path)
    with intact(path, "bring it back from a copy, or name another run."):
        return path.read_text(encoding="utf-8")
