"""Each writer where there is no room: what was there stays whole, no half is left, and it goes on afterwards."""

import errno
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.running import StopAt, execute
from torch import nn

from dmx.data.writing import write_picture
from dmx.errors import FullError, MachineError, full
from dmx.outcome import Outcome
from dmx.sample_table import Meaning, SampleTable
from dmx.stored import replace_bytes, replace_text
from dmx.sweep.storage import open_journal
from dmx.tracking.journal import Journal, MetricsLogged
from dmx.training.checkpoint import save_state, save_weights

Make = Callable[..., dict[str, Any]]
ROOM = 20_000
"""Bytes that a file may have; each writer below wants more."""


@contextmanager
def no_room() -> Iterator[None]:
    """No file grows beyond `ROOM`: the system says so as it says that a disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def samples() -> SampleTable:
    sums = np.random.default_rng(0).random((2000, 2))
    names = [f"{i}" for i in range(2000)]
    return SampleTable(names, names, {"depth/mae": sums}, {"depth/mae": Meaning("ratio", higher_is_better=False)})


NOISE = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
WRITERS: dict[str, Callable[[Path], None]] = {
    "checkpoint": lambda path: save_state(path, {"model": torch.zeros(100, 100)}),
    "weights": lambda path: save_weights(path, nn.Linear(100, 100)),
    "samples": lambda path: samples().save(path),
    "text": lambda path: replace_text(path, "x" * 2 * ROOM),
    "bytes": lambda path: replace_bytes(path, b"x" * 2 * ROOM),
}


@pytest.mark.parametrize("name", WRITERS)
def test_what_is_there_stays_whole(tmp_path: Path, name: str) -> None:
    path = tmp_path / "file.dat"
    WRITERS[name](path)
    before = path.read_bytes()
    assert len(before) > ROOM
    with no_room(), pytest.raises(OSError, match="no room left") as refused:
        WRITERS[name](path)
    assert full(refused.value)
    assert refused.value.filename == str(path)
    assert [*tmp_path.iterdir()] == [path]
    assert path.read_bytes() == before
    WRITERS[name](path)


def test_a_picture_says_why_it_cannot_be_written(tmp_path: Path) -> None:
    with no_room(), pytest.raises(OSError, match="File too large") as refused:
        write_picture(tmp_path / "a.png", NOISE)
    assert full(refused.value)


def test_what_is_full_of_semaphores_is_no_full_disk() -> None:
    away = MachineError("no process can be started beside this one")
    away.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert full(away.__cause__)
    assert not full(away)
    assert full(FullError("mlruns: no room"))


def test_a_run_journal_keeps_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    values = {f"{i}": float(i) for i in range(100)}

    def many() -> None:
        for step in range(100):
            journal.append(MetricsLogged(step=step, values=values))

    with no_room(), pytest.raises(OSError, match=r"(File too large|No space left)") as refused:
        many()
    assert path.read_bytes().endswith(b"}\n")
    assert full(refused.value)
    journal.append(MetricsLogged(step=999, values=values))
    assert path.read_text().splitlines()[-1].startswith('{"kind": "metrics"')


def test_optunas_journal_keeps_whole_lines(tmp_path: Path) -> None:
    """Another process, for which there is room, appends right after what was refused."""
    import optuna

    storage = open_journal(tmp_path)
    study = optuna.create_study(storage=storage, study_name="s")

    def many() -> None:
        for i in range(1000):
            study.set_user_attr("text", f"{i}" + "x" * 300)

    with no_room(), pytest.raises(OSError, match="File too large") as refused:
        many()
    assert full(refused.value)
    kept = (tmp_path / "optuna.journal").read_bytes()
    assert kept.endswith(b"}\n")
    other = optuna.load_study(storage=open_journal(tmp_path), study_name="s")
    other.set_user_attr("after", 1)
    assert (tmp_path / "optuna.journal").read_bytes().startswith(kept)
    assert optuna.load_study(storage=open_journal(tmp_path), study_name="s").user_attrs["after"] == 1


@pytest.mark.parametrize(
    ("error", "is_full"),
    [
        (OSError(28, "No space left on device"), True),
        (OSError(122, "Disk quota exceeded"), True),
        (OSError(5, "Input/output error"), False),
        (RuntimeError("I/O error: No space left on device (os error 28)"), True),
        (RuntimeError("it is 28"), False),
        (FileNotFoundError(2, "No such file"), False),
    ],
)
def test_what_says_that_there_is_no_room(error: Exception, is_full: bool) -> None:
    assert full(error) is is_full
    over = RuntimeError("what a library says over it")
    over.__context__ = error
    assert full(over) is is_full


def test_a_run_says_what_to_do_and_goes_on(tiny: Make, tmp_path: Path) -> None:
    data = tiny(training={"log_every": 1, "checkpoint_seconds": 0})
    whole = execute(data, tmp_path / "whole")
    home = tmp_path / "home"
    assert execute(data, home, StopAt(2)).outcome is Outcome.INTERRUPTED
    checkpoint = (home / "runs/r/checkpoint.pt").read_bytes()
    with (
        no_room(),
        pytest.raises(FullError, match=r"checkpoint.pt: no room is left to write it\. Nothing is lost, and "),
    ):
        execute(data, home)
    assert (home / "runs/r/checkpoint.pt").read_bytes() == checkpoint
    assert not (home / "runs/r/crash.txt").exists()
    again = execute(data, home)
    assert (again.outcome, again.steps) == (Outcome.COMPLETE, whole.steps)
    assert again.best is not None
    assert whole.best is not None
    assert again.best.value == whole.best.value
