"""Measured speed: what is measured, by whom, what it comes to, what is kept, and what is refused."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from click.testing import CliRunner, Result
from helpers.fuzzing import command

from dmx.cli import cli
from dmx.config import parse_experiment
from dmx.deliver.bench import measure
from dmx.deliver.bench.keep import busy
from dmx.deliver.bench.measure import Measured, Others, Settings, Steps, in_turn, rows
from dmx.deliver.bench.process import FailedError, Timing, Worker
from dmx.deliver.bench.variants import Variant
from dmx.deliver.bench.worker import timed
from dmx.deliver.export.write import annotate
from dmx.deliver.exported import ExportedNetwork
from dmx.errors import MachineError, UserError
from dmx.experiment import Tracking, prepare, run
from dmx.machine import forget_peak_memory, peak_memory
from dmx.outcome import Outcome
from dmx.tracking import Home
from dmx.tracking.home import RESULT
from dmx.tracking.journal import ArtifactLogged, MetricsLogged, read

SPIN = "import time; print(flush=True)\nwhile True: pass"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Home:
    """A run of a network that takes image and background."""
    home = Home(tmp_path_factory.mktemp("home"))
    config = {
        "name": "both",
        "data": {"root": str(tiny_data), "split": {"val": 0.25, "test": 0.25}},
        "model": {"name": "depthmasknet", "width": 4},
        "loss": {"mask": "bce_dice", "depth": "l1"},
        "optimizer": {"name": "adamw", "lr": 1e-3},
        "stages": [{"epochs": 1, "size": [32, 48], "batch_size": 8}],
    }
    run(prepare(parse_experiment(config, "both"), home), home, "both", Tracking("tests", {}, stores=False))
    return home


def invoke(home: Home, *arguments: object) -> Result:
    return CliRunner().invoke(cli, [*map(str, arguments), "--home", str(home.root)], standalone_mode=False)


@pytest.fixture(scope="module")
def file(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("out") / "network.onnx"
    assert not invoke(home, "export", "both", path).exception
    return path


@pytest.fixture(scope="module")
def dynamic(file: Path) -> Path:
    """The same, of which is said that it takes other sizes, too."""
    path = file.with_name("dynamic.onnx")
    shutil.copyfile(file, path)
    annotate(path, replace(ExportedNetwork(file).facts, dynamic=True))
    return path


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds are short."""
    monkeypatch.setattr(measure, "SECONDS", 0.02)


def events(home: Home) -> list[object]:
    return [event for event, _ in read(home.run("both") / "journal.jsonl")]


@pytest.mark.usefixtures("quick")
def test_the_forms_of_a_run_and_a_file_side_by_side_are_kept_with_the_run(home: Home, file: Path) -> None:
    forms = [word for form in ("pytorch", "pt2", "onnx", "int8") for word in ("--form", form)]
    line = ("bench", "both", file, *forms, "--size", "32x48", "--batch", "3,1", "--rounds", 2, "--threads", 1, "--json")
    kept = json.loads(invoke(home, *line).stdout)
    assert [(row["network"], row["form"], row["batch"]) for row in kept["rows"]] == [
        (network, form, batch)
        for batch in (1, 3)
        for network, form in (*(("both", form) for form in ("pytorch", "pt2", "onnx", "int8")), (str(file), "onnx"))
    ]
    assert kept["failures"] == []
    assert kept["threads"] == 1
    for row in kept["rows"]:
        assert row["size"] == [32, 48]
        assert row["calls"] >= 4
        assert row["threads"] == 1
        assert 0 < row["latency_ms"] <= row["latency_p95_ms"]
        assert row["ratio_least"] <= row["ratio"] <= row["ratio_greatest"]
        assert row["cpu_ms"] <= 1.5 * row["latency_p95_ms"]  # one thread
    memory = {row["form"]: row["memory_mb"] for row in kept["rows"]}
    assert memory["onnx"] < memory["pytorch"] / 2  # torch is not imported
    path = max((home.run("both") / "benchmarks").glob("*.json"))
    assert json.loads(path.read_text()) == kept
    logged = [event for event in events(home) if isinstance(event, MetricsLogged)][-1]
    assert logged.step == int(path.stem)
    onnx = next(row for row in kept["rows"] if (row["network"], row["form"], row["batch"]) == ("both", "onnx", 3))
    for name in ("latency_ms", "latency_p95_ms", "pictures_per_second", "cpu_ms", "memory_mb"):
        assert logged.values[f"bench/onnx/32x48/batch_3/{name}"] == onnx[name]
    kept_files = [(event.file, event.folder) for event in events(home) if isinstance(event, ArtifactLogged)]
    assert kept_files[-1] == (f"benchmarks/{path.name}", "benchmarks")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("given", "expected"), [((), 1), (("--threads", 2), 2)])
def test_all_forms_have_one_number_of_threads(home: Home, file: Path, given: tuple[object, ...], expected: int) -> None:
    """Without --threads that of torch, which OMP_NUM_THREADS sets; each process says what it really has."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        line = ("bench", "both", file, "--form", "pytorch", "--batch", "1", "--rounds", 1, *given)
        kept = json.loads(invoke(home, *line, "--json").stdout)
        said = invoke(home, *line).stdout
    finally:
        torch.set_num_threads(before)
    assert [(row["form"], row["threads"]) for row in kept["rows"]] == [("pytorch", expected), ("onnx", expected)]
    assert kept["threads"] == expected
    assert "threads" in said.splitlines()[0]
    assert said.splitlines()[1].split()[4] == str(expected)


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles by a C++ compiler")
def test_the_compiled_form(home: Home) -> None:
    line = ("bench", "both", "--form", "compiled", "--batch", "2", "--rounds", 1, "--threads", 1, "--json")
    [row] = json.loads(invoke(home, *line).stdout)["rows"]
    assert (row["form"], row["batch"]) == ("compiled", 2)


@pytest.mark.usefixtures("quick")
def test_the_table_says_on_what_and_what_was_not_measured(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = home.run("both") / "benchmarks"
    folder.mkdir(exist_ok=True)
    (folder / "0041.json").write_text("{}")
    monkeypatch.setenv("PATH", str(tmp_path))  # no compiler
    line = ("--form", "compiled", "--form", "pytorch", "--batch", "1", "--rounds", 1, "--threads", 1)
    said = invoke(home, "bench", "both", *line).stdout
    for expected in (
        "1.00 (1.00 to 1.00)",
        f"1 of {os.cpu_count()} cores; Python {sys.version.split()[0]}, dmx",
        "The load average was",
        "Not measured: both, compiled, 32x48: no C++ compiler (g++) is installed.",
        f"Wrote {folder / '0042.json'}.",
    ):
        assert expected in said
    key = "bench/pytorch/32x48/batch_1/latency_ms"
    assert [event.step for event in events(home) if isinstance(event, MetricsLogged) and key in event.values][-1] == 42
    failed = invoke(home, "bench", "both", "--form", "compiled").exception
    assert isinstance(failed, MachineError)
    assert "nothing could be measured" in str(failed)
    assert not (folder / "0043.json").exists()


def test_what_rounds_come_to_by_hand() -> None:
    a, b = (Variant("r", form, (8, 8), {}) for form in ("pytorch", "onnx"))
    timings = {
        a: [
            Timing((0.1, 0.3), 0.4, 10**6, 2),
            Timing((0.2, 0.2), 0.8, 3 * 10**6, 2),
            Timing((0.4, 0.4), 0.8, 10**6, 2),
        ],
        b: [Timing((0.1, 0.1), 0.2, 10**6, 2), Timing((0.4,), 0.4, 10**6, 2), Timing((0.1, 0.1), 0.2, 10**6, 2)],
    }
    first, second = rows(timings, 2)
    # 4 pictures in 0.4 s, in 0.4 s, in 0.8 s
    assert first.pictures_per_second == pytest.approx(10)
    assert first.latency_ms == pytest.approx(250)  # of 100 200 200 300 400 400
    assert first.latency_p95_ms == pytest.approx(400)
    assert first.cpu_ms == pytest.approx(200)  # of 100, 200, 200
    assert (first.memory_mb, first.calls, first.ratio, first.threads) == (3, 6, 1, 2)
    # 4 pictures in 0.2 s, 2 in 0.4 s, 4 in 0.2 s: 20, 5, 20, against 10, 10, 5
    assert second.pictures_per_second == pytest.approx(20)
    assert [second.ratio, second.ratio_least, second.ratio_greatest] == pytest.approx([2, 0.5, 4])
    assert rows({}, 2) == []


def test_a_network_whose_time_and_memory_are_known() -> None:
    def network(images: list[np.ndarray], backgrounds: list[np.ndarray] | None) -> list:
        np.ones(30_000_000)  # 240 MB
        time.sleep(0.05)
        return []

    forget_peak_memory()
    before = peak_memory()
    found = timed(network, [], None, 0.0, 3)
    assert len(found["seconds"]) == 3
    assert all(seconds >= 0.05 for seconds in found["seconds"])
    assert found["peak"] - before > 200e6
    assert len(timed(network, [], None, 0.5, 1)["seconds"]) > 1


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux forgets")
def test_a_peak_of_memory_is_forgotten() -> None:
    np.ones(30_000_000)
    high = peak_memory()
    forget_peak_memory()
    assert high - peak_memory() > 100e6


def test_a_process_that_is_killed_is_named_and_the_others_go_on(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "SECONDS", 0.0)
    first, second = (Variant(name, "onnx", (32, 48), {"file": str(file), "size": (32, 48)}) for name in ("a", "b"))
    before = set(psutil.Process().children())
    with Worker(first.source, 1) as doomed, Worker(second.source, 1) as well:
        one = next(child for child in psutil.Process().children() if child not in before)
        doomed.measure(1, 0.0, 1)
        assert doomed.cpu > 0
        one.kill()
        failures: list[str] = []
        workers = {first: doomed, second: well}
        found = in_turn(workers, 1, 2, Steps(lambda done, total: None, 6), failures)
    assert [*found] == [*workers] == [second]
    assert [len(timing.seconds) for timing in found[second]] == [2, 2]
    assert "a, onnx, 32x48, batches of 1: its process was killed" in failures[0]
    assert set(psutil.Process().children()) <= before


def test_a_network_that_cannot_be_loaded_or_run_says_why(dynamic: Path, tmp_path: Path) -> None:
    with pytest.raises(FailedError, match=r"an \.onnx file that is there"):
        Worker({"file": str(tmp_path / "gone.onnx"), "size": (32, 48)}, 1)
    with (
        Worker({"file": str(dynamic), "size": (64, 48)}, 1) as worker,
        pytest.raises(FailedError, match="invalid dimensions for input: image"),
    ):
        worker.measure(1, 0.0, 1)


def test_the_work_of_others_is_told_from_ones_own() -> None:
    with subprocess.Popen([sys.executable, "-c", SPIN], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        beside = Others({})
        own = time.process_time()
        while time.perf_counter() - beside.begun < 1:
            pass
        own, elapsed, seconds = time.process_time() - own, time.perf_counter() - beside.begun, beside.seconds
        other.kill()
    assert seconds > 0.2 * elapsed  # of some core, however busy the machine
    assert seconds + own < 1.1 * elapsed * (os.cpu_count() or 1) + 0.1


def test_a_machine_is_busy_where_others_take_cores_that_are_needed() -> None:
    total = os.cpu_count() or 1
    assert busy(Measured(others=0.5), Settings((1,), 1, total))
    assert not busy(Measured(others=0.01), Settings((1,), 1, total))
    assert busy(Measured(others=total), Settings((1,), 1, 1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("absent",), "there is no run 'absent'"),
        (("absent.onnx",), "absent.onnx: is not there; name an .onnx file that is there"),
        (("weights.pt2",), "weights.pt2: is a file of torch, which can run its author's code when it is loaded"),
        (("weights.pt2",), "`dmx bench RUN --form pt2` measures a run's network as such a file."),
        (("both", "--batch", "1,0"), "must be numbers from 1 to 1024"),
        (("both", "--batch", "1,,2"), "must be numbers from 1 to 1024"),
        (("both", "--size", "5"), "must be a side or HEIGHTxWIDTH of 8 to 4096 pixels"),
        (("both", "--form", "jit"), "'jit' is not one of"),
        ((), "Missing argument 'RUN|FILE...'"),
    ],
    ids=str,
)
def test_mistakes_are_refused_and_nothing_is_written(home: Home, arguments: tuple[str, ...], message: str) -> None:
    before = {path: path.stat().st_mtime_ns for path in home.root.rglob("*")}
    code, said = command("bench", *arguments, "--home", str(home.root))
    assert code == 2
    assert message in said
    assert {path: path.stat().st_mtime_ns for path in home.root.rglob("*")} == before


def test_a_size_that_a_file_does_not_take_is_refused(home: Home, file: Path, dynamic: Path) -> None:
    with pytest.raises(UserError, match="multiples of 16 and at least 1, not 33x48; give another --size"):
        raise invoke(home, "bench", dynamic, "--size", "33x48").exception or AssertionError
    with pytest.raises(UserError, match="takes pictures of 32x48 only, not of 64x64; leave out --size"):
        raise invoke(home, "bench", file, "--size", "64").exception or AssertionError


def test_a_run_that_has_not_ended_is_refused(home: Home, tmp_path: Path) -> None:
    shutil.copytree(home.root, tmp_path / "home")
    copy = Home(tmp_path / "home")
    result = json.loads((copy.run("both") / RESULT).read_text())
    (copy.run("both") / RESULT).write_text(json.dumps({**result, "outcome": Outcome.INTERRUPTED.value}))
    with pytest.raises(UserError, match="both has not ended"):
        raise invoke(copy, "bench", "both").exception or AssertionError
