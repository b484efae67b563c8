"""Tiny real runs, and what is left of them."""

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dmx.config import parse_experiment
from dmx.experiment import RunOptions, Tracking, prepare, run
from dmx.tracking.home import CHECKPOINT, Home
from dmx.training.progress import Silent
from dmx.training.result import RunResult


class StopAt(Silent):
    """Sends this process a signal after a number of steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def step(self, samples: int, loss: float | None) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)


class Values(Silent):
    """Keeps the losses."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def step(self, samples: int, loss: float | None) -> None:
        assert loss is not None
        self.losses.append(loss)


def execute(data: dict[str, Any], home: Path, progress: Silent | None = None, **options: Any) -> RunResult:
    data = {**data, "training": {"keep": "all", **data.get("training", {})}}  # for what tests compare
    prepared = prepare(parse_experiment(data, "test"), Home(home))
    tracking = Tracking("tests", {"dmx.role": "run"}, stores=False)
    result, unsent = run(prepared, Home(home), "r", tracking, RunOptions(progress or Silent(), **options))
    assert unsent == 0
    return result


def points(home: Path) -> dict[tuple[str, int], float]:
    """Every scalar of the journal; a step that stands twice fails."""
    found: dict[tuple[str, int], float] = {}
    for line in (home / "runs/r/journal.jsonl").read_text().splitlines():
        event = json.loads(line)
        for key, value in event.get("values", {}).items():
            assert (key, event["step"]) not in found
            found[key, event["step"]] = value
    return found


def state(home: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(home / "runs/r" / CHECKPOINT, weights_only=True)
    return loaded


def assert_same_bits(one: Any, other: Any) -> None:
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, Mapping):
        assert one.keys() == other.keys()
        for key in one:
            assert_same_bits(one[key], other[key])
    elif isinstance(one, list | tuple):
        for left, right in zip(one, other, strict=True):
            assert_same_bits(left, right)
    else:
        assert one == other
