"""Studies that are killed again and again, and what must be true of them at the end."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from optuna.trial import TrialState

from dmx.config import parse_study
from dmx.sweep.trial_queue import open_queue
from dmx.tracking import Home

STATUS = {TrialState.COMPLETE: "FINISHED", TrialState.PRUNED: "FINISHED", TrialState.FAIL: "FAILED"}


def start(path: Path, home: Path, *options: str, log: Path, command: str = "sweep") -> subprocess.Popen[bytes]:
    """`dmx sweep`, or another command on a study, in a process group of its own."""
    words = [sys.executable, "-m", "dmx", command, str(path), "--home", str(home), *options]
    with log.open("ab") as file:
        return subprocess.Popen(words, stdout=file, stderr=file, process_group=0)


def workers_of(pool: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The workers: each leads a process group of its own, and its parent is the server that it was forked from."""
    try:
        family = psutil.Process(pool.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    direct = {one.pid for one in family if one.ppid() == pool.pid}
    return [one for one in family if one.ppid() in direct and leads(one.pid)]


def leads(pid: int) -> bool:
    """Whether a process leads a process group."""
    try:
        return os.getpgid(pid) == pid
    except ProcessLookupError:
        return False


def kill_something(pool: subprocess.Popen[bytes], draw: random.Random) -> str:
    """SIGKILL to a worker, to the pool, or to both; what it was."""
    what = draw.choice(("worker", "worker", "pool", "both"))
    workers = workers_of(pool)
    if what != "pool" and workers:
        with suppress(psutil.NoSuchProcess):
            draw.choice(workers).kill()
    if what != "worker":
        os.kill(pool.pid, signal.SIGKILL)
        pool.wait()
    return what


def chaos(path: Path, home: Path, rounds: int, *options: str, seed: int, log: Path, pause: float) -> Counter[str]:
    """Kill something in each of so many rounds, start again what is gone, and let it come to its end."""
    draw, kills = random.Random(seed), Counter[str]()
    process = start(path, home, *options, log=log)
    journals = home / "runs"
    for _ in range(rounds):
        seen, enough = written(journals), draw.choice((1, 20_000))
        while process.poll() is None and written(journals) < seen + enough:  # something must go on between two kills
            time.sleep(0.05)
        time.sleep(draw.uniform(0, pause))
        if process.poll() is None:
            kills[kill_something(process, draw)] += 1
        if process.poll() is not None:
            if process.returncode == 0:
                break
            assert process.returncode == -signal.SIGKILL, log.read_text()[-3000:]
            process = start(path, home, *options, log=log)
    assert process.wait(600) == 0, log.read_text()[-3000:]
    return kills


def written(journals: Path) -> int:
    """How many bytes the journals of all trials have."""
    return sum(journal.stat().st_size for journal in journals.glob("*-0*/journal.jsonl"))


def assert_nothing_lost_or_doubled(data: dict[str, Any], home: Path, url: str | None = None) -> None:
    """Every trial ended once, Optuna and MLflow agree on each, no step stands twice, nothing is RUNNING."""
    from dmx.tracking.mlflow_client import connect

    config = parse_study(data, "study")
    queue = open_queue(config, Home(home).study(config.name), url)
    trials = queue.load_study().get_trials()
    assert [trial.number for trial in trials] == list(range(config.trials))
    client = connect(Home(home))
    group = client.get_experiment_by_name(config.name)
    assert group is not None
    found = client.search_runs([group.experiment_id], max_results=1000)
    runs = {run.data.tags["dmx.run"]: run for run in found}
    assert len(runs) == len(found) == config.trials + 1
    assert runs[f"{config.name}-study"].info.status == "FINISHED"
    for trial in trials:
        name = f"{config.name}-{trial.number:04d}"
        run = runs[name]
        assert trial.state.is_finished()
        assert run.info.status == STATUS[trial.state]
        assert run.data.tags["dmx.outcome"] == trial.user_attrs["outcome"]
        if trial.state is TrialState.COMPLETE:
            assert run.data.metrics["val_best/depth/rmse_pooled"] == trial.value
        assert_steps_once(home / "runs" / name / "journal.jsonl")
        history = client.get_metric_history(run.info.run_id, "train/loss")
        steps = [point.step for point in history]
        assert steps == sorted(set(steps)), name
        if trial.state is TrialState.COMPLETE:
            assert steps == list(range(1, steps[-1] + 1)), name


def assert_steps_once(journal: Path) -> None:
    """No scalar stands twice at one step."""
    seen: set[tuple[str, int]] = set()
    for line in journal.read_text().splitlines():
        event = json.loads(line)
        for key in event.get("values", {}):
            assert (key, event["step"]) not in seen
            seen.add((key, event["step"]))
