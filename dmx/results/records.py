"""What is stored of a run that has ended."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from dmx.config import Objective
from dmx.errors import UserError
from dmx.registry import Scalar
from dmx.stored import intact, read_mapping
from dmx.tracking.home import RESULT
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
    """What `train-best` chose, what that came to on test and when test was read; None where the split has no test part.

    What was read for earlier champions stays with it. `identity` says which run of that name the champion is, and on
    which samples: one that was removed and trained anew, on other data, has been read for by nobody.
    """

    champion: str
    identity: dict[str, str] | None = None
    test: dict[str, float | None] | None
    when: str | None = None
    earlier: list["Chosen"] = []


def read_result(folder: Path) -> tuple[RunResult, dict[str, Any]] | None:
    """The stored result of a run and the record it stands in; None while there is none.

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


def read_chosen(path: Path) -> Chosen | None:
    """What `train-best` chose; None while it has not.

    Raises:
        UserError: The file is damaged.
    """
    if not path.exists():
        return None
    advice = "restore it from a copy; without it the same `dmx train-best` reads test once more."
    with intact(path, advice):
        return Chosen.model_validate(read_mapping(path, advice))


def kept_yaml(path: Path) -> dict[str, Any]:
    """The YAML of a file that a run wrote before its first step.

    Raises:
        UserError: It is gone or damaged.
    """
    _refuse_gone(path)
    return read_yaml(path)


def _refuse_gone(path: Path) -> None:
    if not path.is_file():
        raise UserError(
            f"{path} is gone, though its run wrote it at its start: bring it back from a copy, or name another run."
        )


def kept_text(path: Path) -> str:
    """A file that a run wrote before its first step.

    Raises:
        UserError: It is gone or damaged.
    """
    _refuse_gone(path)
    with intact(path, "bring it back from a copy, or name another run."):
        return path.read_text(encoding="utf-8")
