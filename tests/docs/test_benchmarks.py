"""Benchmarks still run, on as little as they take: every script has its smoke run here."""

import importlib
import json
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from dmx.datatools.synth import synth
from dmx.sweep.design import grid
from dmx.tracking import Home

ROOT = Path(__file__).parent.parent.parent / "benchmarks"
SMOKE: dict[str, tuple[str, ...]] = {
    "auto.py": ("--rounds", "1", "--batch", "2"),
    "curves.py": ("--out", "curves.jsonl"),
    "epoch_from_disk.py": ("--rounds", "1", "--samples", "160", "--side", "32"),
    "large_index.py": ("--samples", "200"),
    "learning_curve.py": ("--data", "data", "--results", "results.jsonl", "--figure", "figure.svg"),
    "loaders.py": ("--rounds", "1", "--samples", "40", "--side", "32", "--sizes", "16"),
    "many_runs.py": ("--runs", "6", "--rounds", "1"),
    "outage.py": ("--rounds", "1", "--seconds", "20"),
    "overhead.py": ("--stored", "3", "--trials", "1"),
    "search.py": ("--table", "curves.jsonl", "--seeds", "1", "--without-ray"),
    "mends.py": ("--data", "data", "--unseen", "data", "--results", "results.jsonl", "--figure", "figure.svg"),
    "model_comparison.py": ("upsampling", "--data", "data", "--results", "results.jsonl", "--write", "tables.md"),
    "predict.py": ("--photographs", "4", "--photograph", "48x64", "--size", "32x32", "--batch", "2", "--rounds", "1"),
    "startup.py": ("--calls", "1"),
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


def curves(folder: Path, monkeypatch: pytest.MonkeyPatch, missing: int) -> None:
    """A table of learning curves, of which so many configurations have yet to be trained."""
    made, rng = benchmark("curves", monkeypatch), np.random.default_rng(0)
    rows = []
    for values in grid(made.study(folder)[1].dimensions, {}):
        depth, mask = np.sort(rng.random(made.EPOCHS))[::-1], np.sort(rng.random(made.EPOCHS))
        epochs = [{made.DEPTH: float(d), made.MASK: float(m)} for d, m in zip(depth, mask, strict=True)]
        rows.append({"key": made.key(values), "outcome": "complete", "parameters": 1000, "epochs": epochs})
    write(folder / "curves.jsonl", rows[missing:])


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


PREPARED = {
    "curves.py": partial(curves, missing=1),
    "search.py": partial(curves, missing=0),
    "model_comparison.py": comparison,
    "mends.py": mends,
    "learning_curve.py": learning_curve,
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
    if name == "curves.py":
        made = benchmark("curves", monkeypatch)
        *_, last = map(json.loads, (tmp_path / "curves.jsonl").read_text().splitlines())
        assert (last["outcome"], len(last["epochs"])) == ("complete", made.EPOCHS)
    if name == "model_comparison.py":
        table = (tmp_path / "tables.md").read_text().splitlines()
        assert table[2].startswith("| upsampling | parameters |")
        assert len(table) == 2 + 2 + 5 + 2
    if name in ("mends.py", "learning_curve.py"):
        assert "outcome" not in (tmp_path / "results.jsonl").read_text()
        assert (tmp_path / "figure.svg").read_text().startswith("<?xml")
