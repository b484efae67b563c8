"""Benchmarks still run, on as little as they take."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent / "benchmarks"


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [("overhead.py", "--stored", "3", "--trials", "1"), ("workers.py", "--trials", "2", "--rounds", "1")],
    ids=lambda words: words[0],
)
def test_a_benchmark_runs(words: tuple[str, ...], tmp_path: Path) -> None:
    command = [sys.executable, ROOT / words[0], *words[1:]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
