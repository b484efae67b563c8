"""Each function of `dmx.machine` where a system has what it asks for, and where not."""

import os
import platform
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from dmx import machine


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """`os` without any of the ways to count cores but the plain one; no quota."""
    for name in ("process_cpu_count", "sched_getaffinity"):
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.setattr(machine, "QUOTA", tmp_path / "cpu.max")
    return monkeypatch


def test_cores_are_counted_by_the_best_way_that_there_is(bare: pytest.MonkeyPatch) -> None:
    bare.setattr(os, "cpu_count", lambda: 64)
    assert machine.cores() == 64
    bare.setattr(os, "sched_getaffinity", lambda pid: {3, 5, 8}, raising=False)
    assert machine.cores() == 3
    bare.setattr(os, "process_cpu_count", lambda: 2, raising=False)
    assert machine.cores() == 2
    for unknown in ("process_cpu_count", "sched_getaffinity"):
        bare.delattr(os, unknown)
    bare.setattr(os, "cpu_count", lambda: None)
    assert machine.cores() == 1


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ("max 100000", 8),
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("50000 100000", 1),
        ("1600000 100000", 8),
        ("", 8),
    ],
)
def test_a_container_has_what_its_quota_says(bare: pytest.MonkeyPatch, quota: str, cores: int) -> None:
    bare.setattr(os, "cpu_count", lambda: 8)
    machine.QUOTA.write_text(quota)
    assert machine.cores() == cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes are not bound to cores here")
def test_a_process_that_is_bound_to_one_core_has_one() -> None:
    bound = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
    code = f"{bound}; from dmx.machine import cores; print(cores())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


def test_shared_memory_is_bounded_where_there_is_such_a_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "SHARED_MEMORY", Path(__file__).parent)
    assert machine.shared_memory() == pytest.approx(psutil.disk_usage(str(Path(__file__).parent)).free, rel=0.05)
    monkeypatch.setattr(machine, "SHARED_MEMORY", Path("nowhere"))
    assert machine.shared_memory() is None


def test_signals_that_are_not_there_are_left_out() -> None:
    code = (
        "import signal\nfor name in ('SIGHUP', 'SIGTTOU'):\n delattr(signal, name)\n"
        "from dmx.machine import ENDING, HALTING; print([*map(int, ENDING)], HALTING)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"[{int(signal.SIGINT)}, {int(signal.SIGTERM)}] []\n"


@pytest.mark.parametrize("posix", [True, False])
def test_a_process_is_interrupted_or_where_that_cannot_be_ended(posix: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "POSIX", posix)
    code = (
        "import signal, time\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"  # some shells have it ignored
        "try:\n print('up', flush=True)\n time.sleep(60)\nexcept KeyboardInterrupt: raise SystemExit(7)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        machine.interrupt(process.pid)
        assert process.wait(20) == (7 if posix else -9)
        machine.interrupt(process.pid)  # that is gone: nothing
        machine.kill(process.pid)


def test_waking_ends_what_the_main_thread_waits_for() -> None:
    began = time.monotonic()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # some shells have it ignored
    try:
        threading.Timer(0.2, machine.wake).start()
        with pytest.raises(KeyboardInterrupt):
            time.sleep(60)
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("posix", [True, False])
def test_a_group_ends_with_all_that_it_has_started(posix: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import subprocess, sys, time; print(subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, **machine.apart()) as leader:
        assert leader.stdout is not None
        child = psutil.Process(int(leader.stdout.readline()))
        monkeypatch.setattr(machine, "POSIX", posix)
        machine.end_group(leader.pid)
        assert leader.wait(20) != 0
        assert not psutil.wait_procs([child], 20)[1]
    machine.end_group(leader.pid)  # that is gone: nothing


def test_a_folder_is_flushed_where_it_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    for posix in (True, False):
        monkeypatch.setattr(machine, "POSIX", posix)
        machine.flush(tmp_path)
        machine.flush(tmp_path / "file")
    with pytest.raises(FileNotFoundError):
        machine.flush(tmp_path / "none")


STEPS_OF_MEMORY = """
import resource, numpy
from dmx import machine

def faults():
    before = resource.getrusage(0).ru_minflt
    for _ in range(20):
        numpy.ones(48 << 20, numpy.uint8)
    return resource.getrusage(0).ru_minflt - before

plain = faults()
with machine.keeping_freed_memory():
    numpy.ones(48 << 20, numpy.uint8)
    kept = faults()
print(plain, kept, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep freed memory")
def test_freed_memory_is_kept_for_the_next_step() -> None:
    """Twenty times 48 MiB are mapped anew before and after: 12,288 page faults each, or fewer of huge pages."""
    done = subprocess.run([sys.executable, "-c", STEPS_OF_MEMORY], capture_output=True, check=True)
    before, kept, after = map(int, done.stdout.split())
    assert min(before, after) >= 20
    assert kept < min(before, after) / 10
