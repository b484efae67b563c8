"""A run trained again: identical on the same machine, and where not, said at which step and by how much."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from dmx.again.code import Code
from dmx.again.comparison import scalars
from dmx.again.recorded import recorded
from dmx.again.reproduction import Found, compared
from dmx.again.training import Training, train
from dmx.errors import MachineError
from dmx.outcome import Outcome
from dmx.tracking import RunStart, open_run
from dmx.tracking.home import Home
from dmx.training.result import RunResult

Run = Callable[..., Any]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def again(project: Any, monkeypatch_module: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """The second training of `r`, made once, with what the command said."""
    monkeypatch_module.chdir(project.folder)
    monkeypatch_module.syspath_prepend(project.folder)
    monkeypatch_module.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")  # nothing is to be sent there
    monkeypatch_module.setenv("OMP_NUM_THREADS", "2")  # recorded is another number, which counts
    before = files(project.folder)
    words = [sys.executable, "-m", "dmx", "reproduce", "r", "--home", "mlruns"]
    path = os.pathsep.join([str(project.folder), *sys.path])
    done = subprocess.run(words, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    after = files(project.folder)
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name) and ".pyc" not in name}
    return done, changed


@pytest.fixture(scope="module")
def monkeypatch_module() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def test_it_is_identical_by_the_recorded_commit_and_diff(project: Any, again: Any) -> None:
    done, changed = again
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"code: commit {project.commit[:10]} with the recorded diff of {project.folder}\n" in done.stdout
    assert "not as recorded: code: files that are not in git are not recorded: notes.txt\n" in done.stdout
    assert done.stdout.count("not as recorded: ") == 1
    assert "journals: equal at 6 steps, " in done.stdout
    for name in ("best.safetensors", "checkpoint.pt"):
        assert f"{name}: " in done.stdout
    assert done.stdout.count("tensors, equal bit by bit") == 2
    assert "\nidentical: " in done.stdout
    place = "mlruns/reproductions/r-1/"
    assert all(name.startswith(place) for name in changed), changed  # neither the project nor its results
    assert not any("mlflow" in name or name.startswith(f"{place}code/") for name in changed)
    kept = json.loads((project.folder / place / "reproduction.json").read_text())
    assert (kept["verdict"], kept["journals"]["parting"], kept["before"]) == ("identical", None, kept["now"])


def judged(home: Home, record: Path, second: Path, tolerance: float | None = None) -> Found:
    """The run `r` of `record` compared with its second training in `second`, with the seeds that `home` has."""
    one = replace(recorded(home, "r"), folder=record)
    stored = json.loads((second / "runs/r/result.json").read_text())
    return compared(home, Training(one, Home(second), 6), RunResult.from_dict(stored), tolerance)


def perturb(journal: Path, step: int, key: str, change: float) -> None:
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    (event,) = (one for one in lines if one.get("step") == step and key in one.get("values", {}))
    event["values"][key] += change
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_where_journals_part_is_said_and_by_how_much(copy: Home, inside: Any, again: Any) -> None:
    second = inside.home.root / "reproductions/r-1"
    assert judged(copy, copy.run("r"), second).verdict == "identical"
    before = json.loads((second / "reproduction.json").read_text())["before"]
    perturb(copy.run("r") / "journal.jsonl", 4, "train/loss", 1e-9)
    perturb(copy.run("r") / "journal.jsonl", 5, "train/loss", 1.0)
    found = judged(copy, copy.run("r"), second)
    parting = found.journals.parting
    assert parting is not None
    assert (found.verdict, parting.step, parting.name, parting.others) == ("different", 4, "train/loss", 0)
    assert parting.before - parting.now == pytest.approx(1e-9, rel=1e-3)
    assert found.why.startswith("no noise is known: ")
    assert judged(copy, copy.run("r"), second, tolerance=0.0).verdict == "within noise"  # the objective is the same
    path = second / "runs/r/result.json"
    stored = RunResult.from_dict(json.loads(path.read_text()))
    assert stored.best is not None
    farther = replace(stored, best=replace(stored.best, value=before * 1.02))
    one = Training(recorded(copy, "r"), Home(second), 6)
    assert compared(copy, one, farther, 0.03).verdict == "within noise"
    assert compared(copy, one, farther, 0.01).verdict == "different"
    assert compared(copy, one, replace(farther, best=None), 0.03).verdict == "different"


def test_what_was_measured_after_the_training_does_not_count(
    dmx: Run, copy: Home, inside: Any, again: Any, tiny_data: Path
) -> None:
    """Of evaluations on its own parts, on other data, and of speed, which is at steps of its own."""
    before = scalars(copy.run("r") / "journal.jsonl")
    for part in ("test", "val", "all"):
        assert dmx("evaluate", "r", tiny_data, "--part", part, "--home", copy.root).code == 0
    tracker = open_run(copy, "r", RunStart(experiment="", name="r"))
    tracker.log(99, {"bench/onnx/16x16/batch_1/latency_ms": 1.0})
    tracker.finish(Outcome.COMPLETE, "")
    journal = (copy.run("r") / "journal.jsonl").read_text()
    assert all(name in journal for name in ('"test/', '"eval/', '"bench/'))
    assert scalars(copy.run("r") / "journal.jsonl") == before
    assert max(before) == 6
    found = judged(copy, copy.run("r"), inside.home.root / "reproductions/r-1")
    assert (found.verdict, found.journals.missing) == ("identical", ())


def test_what_has_nothing_in_common_is_not_identical(copy: Home, inside: Any, again: Any, tmp_path: Path) -> None:
    second = Path(shutil.copytree(inside.home.root / "reproductions/r-1", tmp_path / "second"))
    for name in ("best.safetensors", "checkpoint.pt"):
        (second / "runs/r" / name).unlink()
    journal = second / "runs/r/journal.jsonl"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    for line in lines:
        line |= {"values": {f"new/{name}": x for name, x in line["values"].items()}} if "values" in line else {}
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = judged(copy, copy.run("r"), second)
    assert (found.verdict, found.journals.names) == ("different", 0)
    assert "nothing was compared" in found.why


def test_a_failure_is_explained_by_what_this_training_said(copy: Home, tmp_path: Path) -> None:
    record, home = recorded(copy, "r"), Home(tmp_path / "second")
    training = Training(record, home, 6)
    training.begin(copy)
    (home.root / "train.log").write_text("Error: of an earlier attempt\n")
    (tmp_path / "code/dmx").mkdir(parents=True)
    (tmp_path / "code/dmx/__main__.py").write_text("print('killed by the system'); raise SystemExit(9)")
    with pytest.raises(MachineError, match=r"ended with exit code 9 \(killed by the system\)"):
        train(training, Code((str(tmp_path / "code"),), "one that fails"), lambda step, steps: None)
    (tmp_path / "code/dmx/__main__.py").write_text("raise SystemExit(9)")
    with pytest.raises(MachineError, match=r"ended with exit code 9 \(without a word\)"):
        train(training, Code((str(tmp_path / "code"),), "one that is silent"), lambda step, steps: None)


def test_other_seeds_say_what_noise_is(copy: Home, inside: Any, again: Any) -> None:
    """Values v, v + 0.1, v + 0.2: another one is with 95 % within v + 0.1 ± 4.3027 · 0.1 · √(4/3) = ± 0.4968."""
    second = inside.home.root / "reproductions/r-1"
    for seed in (1, 2, 3):
        shutil.copytree(copy.run("r"), copy.run(f"s{seed}"))
        path = copy.run(f"s{seed}") / "result.json"
        record = json.loads(path.read_text())
        record["best"]["value"] += 0.1 * seed
        record["params"] |= {"seed": seed, "optimizer.lr": 1e-3 if seed < 3 else 1.0}  # the last is another's
        path.write_text(json.dumps(record))
    perturb(copy.run("r") / "journal.jsonl", 1, "train/loss", 1e-9)
    one = Training(recorded(copy, "r"), Home(second), 6)
    stored = RunResult.from_dict(json.loads((second / "runs/r/result.json").read_text()))
    assert stored.best is not None
    value = stored.best.value
    for apart, verdict in ((0.59, "within noise"), (-0.39, "within noise"), (0.60, "different"), (-0.40, "different")):
        found = compared(copy, one, replace(stored, best=replace(stored.best, value=value + apart)), None)
        assert found.verdict == verdict, apart
        assert "by the 3 that there are" in found.why


def test_weights_that_differ_are_said(copy: Home, inside: Any, again: Any) -> None:
    from safetensors.torch import load_file, save_file

    second = inside.home.root / "reproductions/r-1"
    path = copy.run("r") / "best.safetensors"
    state = load_file(path)
    name = next(name for name in sorted(state) if name.endswith("weight"))
    state[name].view(-1)[0] += 0.5
    save_file(state, path)
    found = judged(copy, copy.run("r"), second)
    weights = found.weights["best.safetensors"]
    assert weights is not None
    assert (found.verdict, weights.differing, weights.name) == ("different", 1, name)
    assert weights.greatest == pytest.approx(0.5)
    path.unlink()  # as `dmx gc` does
    assert judged(copy, copy.run("r"), second).weights["best.safetensors"] is None


def test_what_is_not_as_recorded_is_said(dmx: Run, copy: Home, inside: Any, tmp_path: Path, tiny_data: Path) -> None:
    folder = copy.run("r")
    shutil.copytree(tiny_data, tmp_path / "data")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["data"]["root"] = str(tmp_path / "data")
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    whole = dmx("reproduce", "r", "--check", "--home", copy.root)
    assert "fingerprint" not in whole.out
    path = tmp_path / "data" / "samples.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    facts = json.loads((folder / "environment.json").read_text())
    torch = facts["packages"]["torch"]
    facts["packages"]["torch"] = "2.9.9"
    (folder / "environment.json").write_text(json.dumps({**facts, "cpu": "abacus", "gpus": ["one"]}))
    before = files(copy.root)
    said = dmx("reproduce", "r", "--check", "--home", copy.root)
    assert said.code == 1
    for line in (
        f"data: {tmp_path / 'data'} has the fingerprint ",
        f"packages: torch {torch}, recorded was 2.9.9\n",
        "machine: gpus none, recorded was one\n",
        "recorded was abacus\n",
    ):
        assert line in said.out
    assert files(copy.root) == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda diff: diff.replace(" 0 is a seed", " 0 is no seed"), "the recorded diff does not fit commit"),
        (lambda diff: diff + "# cut here: the whole diff has 9 characters\n", "characters is not recorded whole"),
        (
            lambda diff: "diff --git a/x.png b/x.png\nBinary files a/x.png and b/x.png differ\n" + diff,
            "changes of binary files are not recorded: x.png",
        ),
    ],
)
def test_a_diff_that_is_not_whole_is_said(dmx: Run, copy: Home, change: Callable[[str], str], said: str) -> None:
    path = copy.run("r") / "git.diff"
    path.write_text(change(path.read_text()))
    checked = dmx("reproduce", "r", "--check", "--home", copy.root)
    assert said in checked.out
    assert ("with the recorded diff" in checked.out) == ("x.png" in said)


def test_a_commit_that_is_not_there_is_said(dmx: Run, copy: Home, inside: Any) -> None:
    path = copy.run("r") / "journal.jsonl"
    path.write_text(path.read_text().replace(inside.commit, "1234567890" * 4))
    checked = dmx("reproduce", "r", "--check", "--home", copy.root)
    assert checked.code == 1
    assert f"not as recorded: code: commit 1234567890 is not in the git repository {inside.folder}" in checked.out
    assert "fetch it, or call this in the project's own folder" in checked.out
    assert f"code: dmx 0.1.0 as it is in {Path(__file__).parent.parent.parent / 'dmx'}" in checked.out
    path.write_text(path.read_text().replace("mlflow.source.git.commit", "of.nobody"))
    assert "for the run recorded no git commit" in dmx("reproduce", "r", "--check", "--home", copy.root).out


def test_what_cannot_be_reproduced_is_refused_and_nothing_is_written(dmx: Run, copy: Home, tmp_path: Path) -> None:
    shutil.copytree(copy.run("r"), copy.run("crashed"))
    path = copy.run("crashed") / "result.json"
    path.write_text(path.read_text().replace('"outcome": "complete"', '"outcome": "crashed"'))
    shutil.copytree(copy.run("r"), copy.run("going"))
    (copy.run("going") / "result.json").unlink()
    shutil.copytree(copy.run("r"), copy.run("lost"))
    (copy.run("lost") / "environment.json").write_text("{")
    shutil.copytree(copy.run("r"), copy.run("tuned"))
    config = yaml.safe_load((copy.run("tuned") / "config.yaml").read_text())
    (copy.run("tuned") / "config.yaml").write_text(yaml.safe_dump({**config, "start": "gone"}))
    shutil.copytree(copy.run("r"), copy.run("elsewhere"))
    config["data"]["root"] = "data/nowhere"
    (copy.run("elsewhere") / "config.yaml").write_text(yaml.safe_dump(config))
    before = files(copy.root)
    for run, said in (
        ("rr", "there is no run 'rr' in"),
        ("../runs/r", "there is no run '../runs/r' in"),
        ("crashed", "has the outcome crashed, which says nothing about its training"),
        ("going", "has not ended"),
        ("lost", "environment.json: is damaged"),
        ("tuned", "start names run 'gone', but there is none"),
        ("elsewhere", "run elsewhere was started in another folder?"),
    ):
        refused = dmx("reproduce", run, "--home", copy.root)
        assert refused.code == 2, refused
        assert said in refused.err
    assert files(copy.root) == before
    assert not copy.reproductions.exists()
    assert dmx("reproduce", "r", "--tolerance", "-1", "--home", copy.root).code == 2


@pytest.mark.slow
def test_it_goes_on_after_a_kill(inside: Any, copy: Home) -> None:
    """First the command and its training are killed, then the command alone, whose training goes on without it."""
    config = yaml.safe_load((copy.run("r") / "config.yaml").read_text())
    config |= {"stages": [{"epochs": 60, "size": 16, "batch_size": 8}]}
    (copy.run("r") / "config.yaml").write_text(yaml.safe_dump(config))
    words = [sys.executable, "-m", "dmx", "reproduce", "r", "--home", str(copy.root)]
    journal = copy.reproductions / "r-1/runs/r/journal.jsonl"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for whole in (True, False):
        process = subprocess.Popen(words, env=environment, cwd=inside.folder)
        steps = lines(journal)
        while lines(journal) < steps + 20:
            assert process.poll() is None
            time.sleep(0.05)
        training = psutil.Process(process.pid).children()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        for one in training if whole else ():
            one.kill()
    done = subprocess.run(words, env=environment, cwd=inside.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr  # it has more epochs than the one that was recorded, and ends later
    assert [path.name for path in copy.reproductions.iterdir()] == ["r-1"]
    assert "journals: part at step 6: val_best/" in done.stdout


def lines(journal: Path) -> int:
    return journal.read_bytes().count(b"\n") if journal.exists() else 0
