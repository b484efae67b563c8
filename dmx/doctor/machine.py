"""Cores, memory, disk, and the environment's variables."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil

from dmx.doctor.finding import Finding, ok, warning, wrong
from dmx.machine import cores, processor, shared_memory
from dmx.tracking.environment import git_state, recorded_part

GB = 2**30
FULL, NEARLY = 1, 10
"""GB left on the disk of the results below which training fails soon, or may."""
SHARED = 0.25
"""GB of shared memory left below which loader processes may fail."""
VARIABLES = {
    "CUDA_VISIBLE_DEVICES": "which GPUs are seen",
    "DMX_HOME": "the folder of results",
    "MKL_NUM_THREADS": "threads of a training",
    "MLFLOW_TRACKING_URI": "where runs are sent",
    "OMP_NUM_THREADS": "threads of a training",
    "ONEDNN_MAX_CPU_ISA": "instructions that torch uses, and thereby the last digits of a result",
    "PYTHONPATH": "which code is imported",
    "PYTORCH_CUDA_ALLOC_CONF": "how GPU memory is kept",
    "PYTORCH_ENABLE_MPS_FALLBACK": "whether the CPU stands in for operations that MPS lacks",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "the precision of matrix products",
}
"""Variables that change a run's result or speed, and what of it."""


def machine(home: Path) -> Iterator[Finding]:
    """Processor, memory, disk, shared memory."""
    section, total = "machine", os.cpu_count() or 1
    allowed = cores()
    of = f" of {total} (affinity or the container's quota)" if allowed < total else ""
    yield ok(section, f"{processor()}, {allowed} cores{of}")
    memory = psutil.virtual_memory()
    yield ok(section, f"memory: {memory.available / GB:.1f} of {memory.total / GB:.1f} GB available")
    there = next(path for path in (home.resolve(), *home.resolve().parents) if path.exists())
    left = shutil.disk_usage(there).free / GB
    what = f"disk of {home}: {left:.1f} GB left"
    if left < FULL:
        yield wrong(section, what, "`dmx gc` says what can go; or set --home to another disk")
    elif left < NEARLY:
        yield warning(section, what, "`dmx gc` says what can go")
    else:
        yield ok(section, what)
    shared = shared_memory()
    if shared is not None:
        what = f"shared memory: {shared / GB:.2f} GB left"
        advice = "start the container with --shm-size, or set data.workers to 0"
        yield ok(section, what) if shared / GB >= SHARED else warning(section, what, advice)


def environment() -> Iterator[Finding]:
    """What is set in the environment, and the state of the code."""
    section = "environment"
    for name, what in VARIABLES.items():
        if (value := os.environ.get(name)) is not None:
            yield ok(section, f"{name}={value} sets {what}")
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdigit() and int(threads) > cores():
        yield warning(section, f"OMP_NUM_THREADS={threads} is more than the {cores()} cores", "unset it")
    commit, diff = git_state(Path.cwd())
    if commit is None:
        yield ok(section, "this folder is in no git repository, so runs note no commit")
    else:
        patch, lacking = recorded_part(diff)
        changed = ", with changes that runs record as a diff" if patch else ""
        yield ok(section, f"git commit {commit[:12]}{changed}")
        for line in lacking:
            advice = "commit what a training needs, for `dmx reproduce` has nothing else"
            yield warning(section, f"code: {line}", advice)
