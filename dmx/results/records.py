"""What is stored of a run that has ended."""

import json
from pathlib import Path
from typing import Any

from dmx.training.result import RunResult

RESULT = "result.json"


def read_result(folder: Path) -> tuple[RunResult, dict[str, Any]] | None:
    """The stored result of a run and the record it stands in; None while there is none."""
    path = folder / RESULT
    if not path.exists():
        return None
    record: dict[str, Any] = json.loads(path.read_text())
    own = ("outcome", "reason", "best", "epochs", "steps", "seconds")
    return RunResult.from_dict({key: record[key] for key in own}), record
