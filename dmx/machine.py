"""What one system has and another has not: the only module that asks which system this is.

Linux, macOS and Windows differ in how processes are counted, begun, grouped and ended, and in what can be known of the
hardware. Every function does what it says wherever it runs, or says what it does instead.
"""

import _thread
import multiprocessing
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from math import ceil
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import psutil

POSIX = os.name == "posix"
ENDING = [signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""By which users, systems and terminals end a process."""
HALTING = [signal.Signals[name] for name in ("SIGTTOU",) if hasattr(signal, name)]
"""By which a terminal halts a process that writes to it from behind."""
QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""What a container may use of the processors: microseconds in so many, or `max`."""
SHARED_MEMORY = Path("/dev/shm")
"""The file system in which Linux keeps what processes share; containers often have 64 MB of it."""
CPUS = Path("/proc/cpuinfo")
BINARY: int = getattr(os, "O_BINARY", 0)
"""For `os.open`: Windows would change the ends of lines."""


def cores() -> int:
    """How many cores this process may use: of the machine's, those it is bound to and its container has."""
    return max(1, min(_bound(), _quota()))


def _bound() -> int:
    if (
        count := getattr(os, "process_cpu_count", None)
    ) is not None:  # from Python 3.13 on, with what -X cpu_count says
        return int(count() or 1)
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def _quota() -> int:
    try:
        allowed, period = QUOTA.read_text().split()
        return ceil(int(allowed) / int(period))
    except (OSError, ValueError):  # no such file, or `max`
        return sys.maxsize


def processor() -> str:
    """The processor's name; Linux tells it in a file only."""
    lines = CPUS.read_text().splitlines() if CPUS.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def shared_memory() -> int | None:
    """Bytes that are free for what processes share; None where nothing but the memory bounds it."""
    return shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else None


def interrupt(pid: int) -> None:
    """Ask another process to finish what it does, as ctrl-C would; on Windows, which cannot, it is ended."""
    if POSIX:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)
    else:
        kill(pid)


def kill(pid: int) -> None:
    """End another process at once, whatever it does."""
    with suppress(psutil.NoSuchProcess):
        psutil.Process(pid).kill()


def wake() -> None:
    """From a thread, have the main thread's handler of SIGINT run; where signals are, even while it waits."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        _thread.interrupt_main()


def apart() -> dict[str, Any]:
    """Options with which `subprocess.Popen` starts a process that ctrl-C in the terminal does not reach."""
    return {"process_group": 0} if POSIX else {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}


def leave_group() -> None:
    """From here on ctrl-C in the terminal does not reach this process."""
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)
    else:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def end_group(pid: int) -> None:
    """Ask a process that was started `apart`, and all that it has started, to end."""
    if POSIX and hasattr(os, "killpg"):
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGTERM)
        return
    with suppress(psutil.NoSuchProcess):
        leader = psutil.Process(pid)
        for process in (*leader.children(recursive=True), leader):
            process.terminate()


def give_way() -> None:
    """Let other processes have the processor first."""
    if hasattr(os, "nice"):
        os.nice(10)
    else:
        psutil.Process().nice(getattr(psutil, "BELOW_NORMAL_PRIORITY_CLASS", 0))


def after_fork(call: Callable[[], None]) -> None:
    """Have `call` run in processes that are forked from this one, where processes can be forked."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=call)


def starting(preload: Sequence[str]) -> BaseContext:
    """How to start processes: forked from a server that imports `preload` from now on; else each imports it anew."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    from multiprocessing import forkserver

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*preload])
    forkserver.ensure_running()
    return context


@contextmanager
def deaths_as_meant() -> Iterator[None]:
    """Without torch's handler of SIGCHLD, which takes any death for an accident, and raises wherever we are.

    Within `Process.join` that would be between the end of a process and the note of it: it would count as alive.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGCHLD"):
        yield
        return
    handler = signal.getsignal(signal.SIGCHLD)
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    except RuntimeError:  # it had still to say that one has ended
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, handler)


def flush(path: Path) -> None:
    """Wait until a file, or what a folder lists, is on the disk; a folder of Windows cannot be waited for."""
    if path.is_dir() and not POSIX:
        return
    opened = os.open(path, os.O_RDONLY if POSIX else os.O_RDWR)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
