"""Benchmarks still run, on as little as they take: every script has its smoke run here."""

import importlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from dmx.datatools.synth import synth
from dmx.tracking import Home

ROOT = Path(__file__).parent.parent.parent / "benchmarks"
SMOKE: dict[str, tuple[str, ...]] = {
    "auto.py": ("--rounds", "1", "--batch", "2"),
    "epoch_from_disk.py": ("--rounds", "1", "--samples", "160", "--side", "32"),
    "joint.py": ("--data", "data", "--results", "results.jsonl", "--seeds", "0"),
    "large_index.py": ("--samples", "200"),
    "learning_curve.py": ("--data", "data", "--results", "results.jsonl", "--figure", "figure.svg"),
    "loaders.py": ("--rounds", "1", "--samples", "40", "--side", "32", "--sizes", "16"),
    "many_runs.py": ("--runs", "6", "--rounds", "1"),
    "outage.py": ("--rounds", "1", "--seconds", "20"),
    "overhead.py": ("--stored", "3", "--trials", "1"),
    "search.py": (
        "--folder",
        "tables",
        "--seeds",
        "1",
        "--workers",
        "1",
        "2",
        "--methods",
        "tpe, halving",
        "--figure",
        "figure.svg",
    ),
    "mends.py": ("--data", "data", "--unseen", "data", "--results", "results.jsonl", "--figure", "figure.svg"),
    "model_comparison.py": ("upsampling", "--data", "data", "--results", "results.jsonl", "--write", "tables.md"),
    "predict.py": ("--photographs", "4", "--photograph", "48x64", "--size", "32x32", "--batch", "2", "--rounds", "1"),
    "startup.py": ("--calls", "1"),
    "tables.py": ("--only", "rooms", "--seeds", "1", "--out", "tables"),
    "training.py": ("--rounds", "1", "--batch", "2"),
    "workers.py": ("--trials", "2", "--rounds", "1"),
}
QUICK = ("startup.py",)


def scripts() -> set[str]:
    """The benchmarks that can be started; the others are what they share."""
    return {path.name for path in ROOT.glob("*.py") if '__name__ == "__main__"' in path.read_text(encoding="utf-8")}


def benchmark(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module(name)


def write(path: Path, rows: Sequence[object]) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def rows(made: ModuleType) -> dict[tuple[str, int], dict[str, Any]]:
    """Learning curves of every configuration of the table `rooms`; one has diverged."""
    rng, found = np.random.default_rng(0), {}
    for place, values in enumerate(made.configurations(made.TASKS["rooms"].study()[1])):
        length = 2 if place == 5 else made.TASKS["rooms"].epochs
        depth, mask = np.sort(rng.random(length))[::-1].tolist(), np.sort(rng.random(length)).tolist()
        epochs = [{made.DEPTH: d, made.MASK: m} for d, m in zip(depth, mask, strict=True)]
        found[made.key(values), 0] = {"outcome": "complete", "parameters": 1000, "seconds": 9.0, "epochs": epochs}
    return found


def trainings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings for the table `rooms`, of which one is missing."""
    made = benchmark("tables", monkeypatch)
    identity = made.facts_of("rooms", made.pictures("rooms", folder / "data", folder / "pictures"))["identity"]
    (folder / "data" / "tables").mkdir(parents=True)
    there = [{"key": key, "seed": seed, "identity": identity, **row} for (key, seed), row in rows(made).items()]
    write(folder / "data" / "tables" / "rooms.jsonl", there[1:])


def table(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table `rooms`."""
    made = benchmark("tables", monkeypatch)
    made.write(folder / "tables", "rooms", rows(made), {"definition": json.dumps(made.TASKS["rooms"].definition())})


def comparison(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results of the comparison, in which one cost and one quality are missing."""
    made = benchmark("model_comparison", monkeypatch)
    costs = {"parameters": 1, "multiply_adds": 1, "forward_ms": 1.0, "backward_ms": 1.0}
    keys = [key for key, _ in made.todo(["upsampling"], folder / "data", Home(folder))]
    write(
        folder / "results.jsonl", [{**key, **costs, "rmse": 1.0, "iou": 0.5, "checkerboard": 0.0} for key in keys[1:-1]]
    )
    synth(folder / "data", count=32, size=64, seed=0, per_room=4, workers=1)
    (folder / "tables.md").write_text("<!-- upsampling -->\n<!-- /upsampling -->\n")


def mends(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results of the mends, in which the first is missing."""
    made, data = benchmark("mends", monkeypatch), folder / "data"
    values = {where: dict.fromkeys(made.METRICS, 0.5) for where in ("own", "unseen")}
    write(folder / "results.jsonl", [{**key, **values} for key, _ in [*made.wanted(data, data)][1:]])
    synth(data, count=24, size=32, seed=0, kind="relative", per_room=2, workers=1)


def learning_curve(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results of the learning curve, in which one of those of the most frames is missing."""
    made, data = benchmark("learning_curve", monkeypatch), folder / "data"
    missing = {"start": min(made.STARTS), "frames": max(made.EPOCHS)}
    keys = [key for key, _ in made.wanted(data) if key != missing]
    write(folder / "results.jsonl", [{**key, **dict.fromkeys(made.METRICS, 0.5)} for key in keys])
    synth(data, count=24, size=32, seed=0, per_room=2, workers=1)


def joint(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results of joint training, in which that of the mask alone is missing."""
    made, data = benchmark("joint", monkeypatch), folder / "data"
    keys = [key for key, _ in made.wanted(data, [0]) if key["variant"] != "mask alone"]
    write(folder / "results.jsonl", [{**key, **dict.fromkeys(made.METRICS, 0.5)} for key in keys])
    synth(data, count=24, size=32, seed=0, per_room=2, workers=1)


PREPARED = {
    "search.py": table,
    "tables.py": trainings,
    "model_comparison.py": comparison,
    "mends.py": mends,
    "learning_curve.py": learning_curve,
    "joint.py": joint,
}
"""What makes the data, and the measurements that are there before."""


def test_every_benchmark_has_a_smoke_run() -> None:
    assert scripts() == set(SMOKE)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SMOKE]
)
def test_a_benchmark_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name in PREPARED:
        PREPARED[name](tmp_path, monkeypatch)
    command = [sys.executable, ROOT / name, *SMOKE[name]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=800, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    if name == "tables.py":
        *_, last = map(json.loads, (tmp_path / "data" / "tables" / "rooms.jsonl").read_text().splitlines())
        assert (last["outcome"], len(last["epochs"])) == ("complete", 9)
        assert pq.read_table(tmp_path / "tables" / "rooms.parquet")["seeds"].to_pylist() == [1] * 200
    if name == "model_comparison.py":
        lines = (tmp_path / "tables.md").read_text().splitlines()
        assert lines[2].startswith("| upsampling | parameters |")
        assert len(lines) == 2 + 2 + 5 + 2
    if name in ("mends.py", "learning_curve.py", "joint.py"):
        assert "outcome" not in (tmp_path / "results.jsonl").read_text()
    if "--figure" in SMOKE[name]:
        assert (tmp_path / "figure.svg").read_text().startswith("<?xml")


@pytest.mark.slow
@pytest.mark.parametrize("pruner", ["none", "median", "halving"])
@pytest.mark.parametrize("several", [False, True])
def test_a_replay_decides_as_the_worker_does(
    pruner: str, several: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if several and pruner == "median":
        pytest.skip("it knows one objective")
    table(tmp_path, monkeypatch)
    one, both = benchmark("replay_table", monkeypatch).read_tables(tmp_path / "tables")
    check = benchmark("worker_check", monkeypatch).check
    assert check(both if several else one, seed=1, budget=60, sampler="tpe", pruner=pruner)


def test_a_replay_begins_with_an_earlier_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table(tmp_path, monkeypatch)
    one, _ = benchmark("replay_table", monkeypatch).read_tables(tmp_path / "tables")
    replay, settings = benchmark("replay", monkeypatch), {"sampler": "random", "pruner": "none"}
    earlier = replay.DmxSearch(one, 0, **settings)
    steps = replay.simulate(earlier, one, 60)
    later = replay.DmxSearch(one, 1, warm_start={"study": "earlier", "top": 2}, **settings)
    later.begin_with(earlier)
    own = [row for row, epoch, _ in replay.simulate(later, one, 60) if epoch == 1]
    best = sorted({row for row, *_ in steps}, key=lambda row: one.best[row, one.own])
    assert [row for row in own if row != own[0]][:2] == [row for row in best if row != own[0]][:2]
    assert later.told


def test_the_statistics_of_replays(monkeypatch: pytest.MonkeyPatch) -> None:
    made = benchmark("replay_statistics", monkeypatch)
    good, bad = np.linspace(1, 0, 10)[None].repeat(20, 0), np.ones((20, 10))
    good = good - np.linspace(0, 0.01, 20)[:, None]
    assert made.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert made.epochs_to(np.array([[0.5, 0.2, 0.1], [0.5, 0.4, 0.3]]), 0.2).tolist() == [2, np.inf]
    tables = [{"good": good, "bad": bad, "too": bad}]
    assert made.average_ranks(tables, 1.0) == {"good": 1, "bad": 2.5, "too": 2.5}
    pairs = made.differences(tables)
    assert pairs["good", "bad"][1] < 0.05 < pairs["bad", "too"][1]
    assert made.overall_ranks(tables) == {"good": 1, "bad": 2.5, "too": 2.5}
    assert made.alike(np.array([[1.0, 0.9], [2.0, 0.5], [3.0, 0.1]])).tolist() == pytest.approx([-1, 1])
