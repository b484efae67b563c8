"""Whether an exception that ends a run is transient, and how it is described."""

from pathlib import Path

import torch

from dmx.errors import MachineError
from dmx.outcome import Outcome
from dmx.training.result import RunResult

LASTING = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)
"""System errors that are not transient: the next attempt would fail again."""
PASSING = ("CUDA error", "NCCL")
"""Parts of torch's error messages for a lost device."""


def transient(error: BaseException) -> bool:
    """Whether the next attempt may succeed: a file system, network, device or loader process was unavailable."""
    if isinstance(error, MachineError):
        return True
    if isinstance(error, OSError):
        return not isinstance(error, LASTING)
    text = str(error)
    said = any(words in text for words in PASSING) and "device-side assert" not in text
    return isinstance(error, RuntimeError) and said and not isinstance(error, torch.OutOfMemoryError)


def reason(error: BaseException) -> str:
    """The first line of an error."""
    return f"{type(error).__name__}: {error}".partition("\n")[0][:500]


def crashed(error: Exception) -> RunResult:
    """The result of a run that crashed with `error`."""
    return RunResult(Outcome.CRASHED, reason(error), None, 0, 0, 0.0)


def no_room(error: BaseException, folder: Path) -> str:
    """The message for an error of a full disk: what to do."""
    where = getattr(error, "filename", None) or folder
    return (
        f"{where}: no room is left to write it. Nothing is lost, and the last checkpoint is whole: make room (`dmx gc` "
        "says what takes it) and call the same command again; it goes on where it was left."
    )
