"""Processes of a pool do not outlive the one that began them."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil

from dmx.data.layout import DatasetIndex

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
