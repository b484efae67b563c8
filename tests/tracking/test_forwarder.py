"""The forwarder's process: it lives and dies as its parent wants, and loses nothing when either is killed."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from dmx.outcome import Outcome
from dmx.tracking.forwarder import unsent
from dmx.tracking.forwarder_client import ForwarderClient

# MLflow 3.17 uses a loader strategy that SQLAlchemy 2.1 calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

HERE = str(Path(__file__).parent)
BEGIN = f"""
import os, sys, time
from pathlib import Path
sys.path.insert(0, {HERE!r})
from conftest import Home, Stored
from dmx.outcome import Outcome
stored, run_id = Stored(Home(Path(sys.argv[1]))), sys.argv[2]
run = stored.open(run_id)
"""


def forwarder_of(pid: int | None = None) -> psutil.Process:
    """The one forwarder of a process."""
    (found,) = (one for one in psutil.Process(pid).children() if "dmx.tracking.forwarder" in " ".join(one.cmdline()))
    return found


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)


def start(code: str, stored, run_id: str, **options) -> subprocess.Popen:
    """A process of its own that opens a run and goes on as `code` says."""
    command = [sys.executable, "-c", BEGIN + code, stored.home.root, run_id]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def check_whole(stored, run_id: str, status: str = "FINISHED") -> None:
    assert unsent(stored.home, run_id) == 0
    assert stored.found(run_id).info.status == status
    stored.check_everything_stands_once(run_id)


def test_one_forwarder_serves_all_runs_and_makes_way_for_training(stored):
    stored.open("kept").finish(Outcome.COMPLETE, "")
    forwarder = forwarder_of()
    run = stored.open("kept too")
    stored.write(run, range(stored.STEPS))
    assert run.finish(Outcome.COMPLETE, "") == 0
    check_whole(stored, "kept too")
    assert forwarder_of().pid == forwarder.pid
    assert forwarder.nice() == min(os.nice(0) + 10, 19)
    loaded = {Path(file.path).name for file in forwarder.memory_maps()}
    assert any("pyarrow" in name or "arrow" in name for name in loaded)  # MLflow is there
    assert not any("torch" in name for name in loaded)


def test_a_forwarder_that_is_killed_is_followed_by_another(stored, caplog):
    run = stored.open("forwarder killed")
    stored.write(run, range(20))
    wait_for(stored.home.run("forwarder killed") / "mlflow.sent")
    first = forwarder_of()
    first.kill()
    stored.write(run, range(20, stored.STEPS))
    assert run.finish(Outcome.COMPLETE, "") == 0
    check_whole(stored, "forwarder killed")
    assert forwarder_of().pid != first.pid
    assert caplog.messages == ["The process that sends to MLflow and TensorBoard ended (code -9); another one goes on."]


def test_a_forwarder_that_is_killed_while_it_empties_the_journal_is_followed_by_another(stored):
    run = stored.open("drain killed")
    forwarder_of().suspend()
    stored.write(run, range(stored.STEPS))
    threading.Timer(0.5, forwarder_of().kill).start()
    assert run.finish(Outcome.COMPLETE, "", patience=120) == 0
    check_whole(stored, "drain killed")


def test_a_forwarder_that_does_nothing_is_not_waited_for_for_ever(stored):
    run = stored.open("stuck")
    run.log(1, {"a": 1.0})
    forwarder = forwarder_of()
    forwarder.suspend()
    begun = time.perf_counter()
    left = run.finish(Outcome.COMPLETE, "", patience=0.3)
    assert 0.3 <= time.perf_counter() - begun < 30  # on a machine with other work; a stopped one never answers
    assert 0 < left == unsent(stored.home, "stuck") <= 3
    forwarder.resume()
    stored.open("after stuck").finish(Outcome.COMPLETE, "")  # the late answer is not taken for this run's
    assert unsent(stored.home, "stuck") == unsent(stored.home, "after stuck") == 0


def test_two_forwarders_never_send_one_run(stored):
    folder = stored.home.run("held")
    folder.mkdir(parents=True)
    with FileLock(folder / "feed.lock"):
        run = stored.open("held")
        stored.write(run, range(stored.STEPS))
        stored.open("not held").finish(Outcome.COMPLETE, "")  # the forwarder has been at both by now
        assert unsent(stored.home, "not held") == 0
        assert not (folder / "mlflow.sent").exists()
        assert not stored.home.tensorboard("held").exists()
    assert run.finish(Outcome.COMPLETE, "") == 0
    check_whole(stored, "held")


def test_ctrl_c_in_the_terminal_lets_the_forwarder_send_the_rest(stored):
    code = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` hands it down ignored
try:
    stored.write(run, range(stored.STEPS))
    print("go", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print(run.finish(Outcome.INTERRUPTED, "SIGINT"), flush=True)
"""
    with start(code, stored, "ctrl-c", start_new_session=True) as other:
        assert other.stdout is not None
        other.stdout.readline()
        forwarder = forwarder_of(other.pid)
        os.killpg(other.pid, signal.SIGINT)
        assert other.communicate(timeout=60) == ("0\n", "")
    assert not forwarder.is_running()
    check_whole(stored, "ctrl-c", "KILLED")


def test_signals_do_not_end_a_forwarder_before_its_parent_does(stored):
    stored.open("before").finish(Outcome.COMPLETE, "")
    forwarder = forwarder_of()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        forwarder.send_signal(number)
    stored.open("after").finish(Outcome.COMPLETE, "")
    assert forwarder_of().pid == forwarder.pid


FORKING = """
if os.fork() == 0:
    time.sleep(20)  # as a loader's worker does that has not noticed yet
print("forked", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(("code", "kill"), [("sys.stdin.readline()", False), (FORKING, True)], ids=["exit", "kill"])
def test_no_forwarder_outlives_its_parent(stored, code, kill):
    """Nor writes it anything but our own warnings where the user reads."""
    stored.home.tensorboard(f"orphan {kill}").parent.mkdir(parents=True, exist_ok=True)
    stored.home.tensorboard(f"orphan {kill}").write_text("a file where the folder should be")
    options = {"start_new_session": True, "stdin": subprocess.PIPE}
    with start(code, stored, f"orphan {kill}", **options) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stderr is not None
        line = other.stderr.readline()
        forwarder = forwarder_of(other.pid)
        if kill:
            other.stdout.readline()
            other.kill()
        other.stdin.close()
        other.wait(timeout=30)
        ended = time.monotonic()
        forwarder.wait(timeout=5)
        assert time.monotonic() - ended < 5
        if kill:
            os.killpg(other.pid, signal.SIGKILL)
        assert other.stderr.read() == ""
    assert "a file stands where a folder is needed: move it" in line
    assert line.endswith("The journal keeps it all.\n")


def test_where_no_process_can_be_started_training_goes_on(stored, monkeypatch, caplog):
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with caplog.at_level(logging.WARNING):
        ForwarderClient().open(stored.home, "r")
    other = ForwarderClient()
    begun = time.perf_counter()
    other.finish(stored.home, "r", patience=10.0)
    assert time.perf_counter() - begun < 2
    assert caplog.messages[0] == (
        "MLflow and TensorBoard get nothing now ([Errno 2] No such file or directory: '/no/such/python'); "
        "the journal keeps it."
    )
