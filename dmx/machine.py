"""Platform differences: the only module that checks which operating system this is.

Linux, macOS and Windows differ in how CPUs are counted, how processes are started, grouped and ended, and in what the
system reveals about the hardware. Every function works on all of them, or documents what it does instead.
"""

import _thread
import ctypes
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
"""Signals by which users, systems and terminals end a process."""
HALTING = [signal.Signals[name] for name in ("SIGTTOU",) if hasattr(signal, name)]
"""The signal by which a terminal stops a background process that writes to it."""
QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""The CPU quota of a container: microseconds (or `max`) per period in microseconds."""
SHARED_MEMORY = Path("/dev/shm")
"""Linux's file system for shared memory; containers often have 64 MB of it."""
CPUS = Path("/proc/cpuinfo")
STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
"""What Linux says of this process; a 5 written to the latter makes the peak of its memory what it has now."""
LOCKS = Path("/proc/locks")
"""Linux's list of locks: `1: FLOCK ADVISORY WRITE pid major:minor:inode start end`, device numbers in hexadecimal."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Options of glibc's `mallopt`: free bytes at the heap's end above which they are returned; bytes of an allocation that
is mapped apart."""
BINARY: int = getattr(os, "O_BINARY", 0)
"""Flag for `os.open`: without it Windows converts line ends."""


def cores() -> int:
    """Return how many cores this process may use, given its CPU affinity and its container's quota."""
    return max(1, min(_bound(), _quota()))


def _bound() -> int:
    if (count := getattr(os, "process_cpu_count", None)) is not None:  # Python 3.13 and later; respects -X cpu_count
        return int(count() or 1)
    affinity = getattr(os, "sched_getaffinity", None)  # only on Linux
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def _quota() -> int:
    try:
        allowed, period = QUOTA.read_text().split()
        return ceil(int(allowed) / int(period))
    except (OSError, ValueError):  # no such file, or `max`
        return sys.maxsize


def processor() -> str:
    """Return the processor's name; on Linux it is only found in a file."""
    lines = CPUS.read_text().splitlines() if CPUS.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def lock_holders(files: Sequence[Path]) -> dict[Path, int]:
    """Return the process that holds each of these lock files, where one does; no lock is taken to see it.

    Where the system has no list of locks, the process is found by what it has open.
    """
    if not LOCKS.exists():
        return _openers(files)
    held = {}
    for line in LOCKS.read_text().splitlines():
        words = line.split()
        if len(words) == 8 and words[1] in ("FLOCK", "POSIX") and words[3] == "WRITE" and int(words[4]) > 0:
            held[int(words[5].rpartition(":")[2])] = int(words[4])
    known = {path.stat().st_ino: path for path in files if path.exists()}
    # The device is not compared: on overlay file systems it is another one in the list.
    return {path: held[inode] for inode, path in known.items() if inode in held}


def _openers(files: Sequence[Path]) -> dict[Path, int]:
    wanted = {str(path.resolve()): path for path in files}
    found: dict[Path, int] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            found |= {wanted[one.path]: process.pid for one in process.open_files() if one.path in wanted}
    return found


def shared_memory() -> int | None:
    """Return the free bytes of shared memory; None if only the RAM limits it."""
    return shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else None


def interrupt(pid: int) -> None:
    """Interrupt another process, as ctrl-C would; on Windows, which has no equivalent, the process is terminated."""
    if POSIX:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)
    else:
        kill(pid)


def kill(pid: int) -> None:
    """Kill another process immediately."""
    with suppress(psutil.NoSuchProcess):
        psutil.Process(pid).kill()


def wake() -> None:
    """Trigger the main thread's SIGINT handler from another thread; with POSIX signals, even while it blocks."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        _thread.interrupt_main()


def apart() -> dict[str, Any]:
    """Return options for `subprocess.Popen` that shield the new process from ctrl-C in the terminal."""
    return {"process_group": 0} if POSIX else {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}


def leave_group() -> None:
    """Leave the terminal's process group, so that ctrl-C no longer reaches this process."""
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)
    else:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def end_group(pid: int) -> None:
    """Ask a process that was started with `apart`, and all its children, to end."""
    if POSIX and hasattr(os, "killpg"):
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGTERM)
        return
    with suppress(psutil.NoSuchProcess):
        leader = psutil.Process(pid)
        for process in (*leader.children(recursive=True), leader):
            process.terminate()


def give_way() -> None:
    """Lower this process's scheduling priority."""
    if hasattr(os, "nice"):
        os.nice(10)
    else:
        psutil.Process().nice(getattr(psutil, "BELOW_NORMAL_PRIORITY_CLASS", 0))


def after_fork(call: Callable[[], None]) -> None:
    """Register `call` to run in every child forked from this process, on systems with fork."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=call)


def starting(preload: Sequence[str]) -> BaseContext:
    """Return the multiprocessing context: a fork server that preloads `preload` now, otherwise spawned processes."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    from multiprocessing import forkserver

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*preload])
    forkserver.ensure_running()
    return context


@contextmanager
def deaths_as_meant() -> Iterator[None]:
    """Suspend torch's SIGCHLD handler, which treats any exit of a worker as a failure and raises at any point.

    Raised within `Process.join`, before the exit is recorded, it would leave a dead process marked as alive.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGCHLD"):
        yield
        return
    handler = signal.getsignal(signal.SIGCHLD)
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    except RuntimeError:  # the handler ran for a process that has just ended
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, handler)


def return_memory() -> None:
    """Return freed memory to the system; does nothing where the C library is not glibc.

    glibc keeps freed memory that lies below a small allocation that is still in use. Small results after each batch,
    with large temporary tensors between them, so let a process grow with the number of batches.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if POSIX else None
    if trim is not None:
        trim(0)


@contextmanager
def keeping_freed_memory() -> Iterator[None]:
    """Within the context, freed memory is kept for the next allocation; nothing changes where there is no glibc.

    glibc maps each large tensor anew and returns it to the kernel when it is freed, so that every training step begins
    with page faults; benchmarks/auto.py measures a loop with and without them. Afterwards it has the thresholds to
    which glibc adapts by itself, and memory is returned.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if POSIX else None
    if mallopt is None:
        yield
        return
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(M_MMAP_THRESHOLD, 2**30)
    try:
        yield
    finally:
        mallopt(M_TRIM_THRESHOLD, 2**26)
        mallopt(M_MMAP_THRESHOLD, 2**25)
        return_memory()


def peak_memory() -> int:
    """Return the most memory that this process has had, in bytes, on Linux since `forget_peak_memory`."""
    if STATUS.exists():
        lines = [line.split() for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:")]
        if lines:
            return 1024 * int(lines[0][1])
    if POSIX:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak
    memory = psutil.Process().memory_info()
    return int(getattr(memory, "peak_wset", memory.rss))


def forget_peak_memory() -> None:
    """Let `peak_memory` count from now on; on other systems than Linux it goes on counting from the process's start."""
    with suppress(OSError):
        if CLEAR_REFS.exists():
            CLEAR_REFS.write_text("5")


def flush(path: Path) -> None:
    """Flush (fsync) a file or a folder to disk; does nothing for folders on Windows."""
    if path.is_dir() and not POSIX:
        return
    opened = os.open(path, os.O_RDONLY if POSIX else os.O_RDWR)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
