"""Processes of a pool do not outlive the one that began them, which does not wait for one that was killed."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from dmx.data.layout import DatasetIndex
from dmx.data.processes import AHEAD, in_processes

WAITING = """
import sys, time
from pathlib import Path
from dmx.data.chunks import in_order
from dmx.data.layout import read

def wait(index, job):
    if job:
        (Path(sys.argv[2]) / str(job)).touch()
        time.sleep(600)

if __name__ == "__main__":
    for _ in in_order(wait, read(Path(sys.argv[1])), [0, 1, 2], 2):
        print("begun", flush=True)
"""


def test_they_end_when_their_parent_is_killed(rooms: DatasetIndex, tmp_path: Path) -> None:
    script = tmp_path / "waiting.py"
    script.write_text(WAITING)
    command = [sys.executable, str(script), str(rooms.root), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "begun\n"
        children = psutil.Process(parent.pid).children(recursive=True)
        parent.send_signal(signal.SIGKILL)
        _, alive = psutil.wait_procs(children, timeout=5)
        for one in alive:
            one.kill()
    assert len(children) >= 2
    assert alive == []


JOBS = {
    "chunks": "list(in_order(wait, read(root), [0, 1, 2, 3], 2))",
    "synth": "synth(out, count=40_000, size=64, seed=0, workers=2)",
    "pack": "pack(read(root), out, size=(512, 512), workers=2)",
}
ALL_OF_THEM = """
import sys, time
from pathlib import Path
from dmx.cli import main
from dmx.data.chunks import in_order
from dmx.data.layout import read
from dmx.data.pack import write
from dmx.data.pack.write import pack
from dmx.datatools.synth import synth
import dmx.cli

def wait(index, job):
    time.sleep(600)

if __name__ == "__main__":
    root, out = map(Path, sys.argv[2:])
    write.SAMPLES_AT_MOST = 1
    dmx.cli.cli = lambda standalone_mode: eval(sys.argv[1])
    main()
"""


@pytest.mark.parametrize("what", JOBS)
def test_one_that_is_killed_ends_the_command_with_a_message(rooms: DatasetIndex, tmp_path: Path, what: str) -> None:
    script = tmp_path / "all.py"
    script.write_text(ALL_OF_THEM)
    command = [sys.executable, str(script), JOBS[what], str(rooms.root), str(tmp_path / "out")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as parent:
        family = started(parent)
        family[0].kill()
        _, said = parent.communicate(timeout=60)
    assert (parent.returncode, said.startswith("Error: one of 2 processes has died; if the system has killed it")) == (
        1,
        True,
    ), said
    assert "Traceback" not in said
    assert not psutil.wait_procs(family, timeout=5)[1]


def started(parent: "subprocess.Popen[str]") -> list[psutil.Process]:
    """The two processes of a pool, once both are there."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(psutil.NoSuchProcess):  # a child that has ended between the two looks
            children = psutil.Process(parent.pid).children()
            pool = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
            if len(pool) == 2:
                return pool
        time.sleep(0.05)
    raise AssertionError("there is no pool")


def test_only_a_few_jobs_are_drawn_ahead_of_the_results_and_those_left_are_dropped() -> None:
    drawn: list[int] = []

    def jobs() -> Iterator[int]:
        for job in range(1000):
            drawn.append(job)
            yield job

    results = in_processes(2, abs, jobs())
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    assert len(drawn) <= 3 + 2 * AHEAD
    results.close()
    assert len(drawn) <= 3 + 2 * AHEAD
