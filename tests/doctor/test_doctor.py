"""What is wrong is named, with what to do about it; nothing is changed."""

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import psutil
import pytest
import torch
from click.testing import CliRunner
from filelock import FileLock
from helpers.running import execute
from packaging.requirements import Requirement

from dmx.again.code import restored
from dmx.cli import cli
from dmx.doctor import trial
from dmx.doctor.devices import ENDED, devices, tried
from dmx.doctor.finding import Finding, State
from dmx.doctor.machine import environment, machine
from dmx.doctor.packages import packages, unmet
from dmx.doctor.stores import data_sets, stores
from dmx.machine import POSIX
from dmx.tracking import Home
from dmx.tracking.environment import git_state


def states(found: Iterator[Finding]) -> dict[str, str]:
    return {one.what: one.state for one in found}


def only(found: Iterator[Finding], state: State) -> Finding:
    (one,) = [one for one in found if one.state is state]
    return one


@pytest.fixture
def home(tiny, tmp_path: Path) -> Home:
    """A run, with a database that MLflow has made."""
    execute(tiny(stages=[{"epochs": 1, "size": 16, "batch_size": 8}]), tmp_path)
    with sqlite3.connect(tmp_path / "mlflow.db") as db:
        db.execute("CREATE TABLE alembic_version (version_num TEXT)")
        db.execute("INSERT INTO alembic_version VALUES ('abc')")
        db.execute("CREATE TABLE runs (id TEXT)")
        db.executemany("INSERT INTO runs VALUES (?)", [(str(i) * 100,) for i in range(500)])
    return Home(tmp_path)


def test_a_home_that_is_whole_has_nothing_wrong_and_stays_as_it_is(home: Home) -> None:
    before = {path: path.stat().st_mtime_ns for path in home.root.rglob("*")}
    found = [*stores(home)]
    assert {one.state for one in found} == {State.OK}
    said = " ".join(one.what for one in found)
    assert "500 runs, schema abc" in said
    assert "1 runs whose journals are whole" in said
    assert {path: path.stat().st_mtime_ns for path in home.root.rglob("*")} == before


def test_a_damaged_database_is_named(home: Home) -> None:
    data = bytearray(home.mlflow_db.read_bytes())
    data[5000:20000] = b"\xff" * 15000
    home.mlflow_db.write_bytes(data)
    found = only(stores(home), State.WRONG)
    assert str(home.mlflow_db) in found.what
    assert "dmx sync --rebuild" in found.advice


def test_a_damaged_journal_is_named_and_a_torn_last_line_is_not(home: Home) -> None:
    journal = home.run("r") / "journal.jsonl"
    with journal.open("ab") as file:
        file.write(b'{"kind": "met')
    assert not [one for one in stores(home) if one.state is State.WRONG]
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(lines[0] + b"nonsense\n" + b"".join(lines[1:]))
    assert "is not a journal entry" in only(stores(home), State.WRONG).what


def test_a_lock_that_another_process_holds_is_named_with_it(home: Home) -> None:
    code = "import sys, filelock; lock = filelock.FileLock(sys.argv[1]); lock.acquire(); print(1, flush=True); input()"
    command = [sys.executable, "-c", code, str(home.run("r") / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        (held,) = [one.what for one in stores(home) if "is held by" in one.what]
        assert f"process {holder.pid} " in held
        holder.communicate("\n")
    assert not [one for one in stores(home) if "is held by" in one.what]
    with FileLock(home.run("r") / "lock"):
        assert not [one for one in stores(home) if "is held by" in one.what]  # its own do not count


def test_data_sets_are_named_and_missing_pictures_are_wrong(tiny_data: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_data, tmp_path / "data" / "tiny")
    assert "48 quartets, depth metric" in only(data_sets(tmp_path / "data"), State.OK).what
    next((tmp_path / "data" / "tiny" / "mask").glob("*.png")).unlink()
    assert "1 of" in (wrong := only(data_sets(tmp_path / "data"), State.WRONG)).what
    assert "pictures are missing" in wrong.what
    (tmp_path / "empty").mkdir()
    assert "no data set in" in only(data_sets(tmp_path / "empty"), State.OK).what


def test_packages_are_within_their_bounds() -> None:
    assert [one for one in packages() if one.state is not State.OK] == []
    assert unmet(Requirement("click>=99")) == f"click {version('click')} is outside of >=99"
    assert unmet(Requirement("click>=8")) is None
    assert unmet(Requirement("no-such-package-as-this")) == "no-such-package-as-this is not installed"


def test_the_processor_works_and_a_device_that_is_not_there_is_an_answer() -> None:
    found, failure = tried("cpu")
    assert failure == ""
    assert found["precisions"]["float32"].startswith("works (")
    assert set(found["precisions"]) == {"float32", "bfloat16"}
    found, failure = tried("cuda:99")
    assert found == {}
    assert "its process ended with 1" in failure


def test_a_trial_is_of_the_gpu_that_was_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    current = ["cuda:0"]
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: current.append(device))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"the name of {device}")
    monkeypatch.setattr(trial, "said", lambda kind, precision: f"tried on {current[-1]}")
    trial.trial("cuda:1")
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["name"] == "the name of cuda:1"
    assert set(found["precisions"].values()) == {"tried on cuda:1"}


@pytest.mark.skipif(not POSIX, reason="a script stands in for Python")
def test_the_precision_that_hangs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"name": "one", "precisions": {"float32": "works (1 ms a step)", "bfloat16": ENDED}}
    for name, says in (("whole", json.dumps(told) + "\n"), ("torn", json.dumps(told) + '\n{"name": "on'), ("mute", "")):
        script = tmp_path / name
        script.write_text(
            f"#!{sys.executable}\nimport sys, time\nprint({says!r}, end='', flush=True)\ntime.sleep(60)\n"
        )
        script.chmod(0o755)
        with monkeypatch.context() as patch:
            patch.setattr("dmx.doctor.devices.SECONDS", 1.0)
            patch.setattr(sys, "executable", str(script))
            assert tried("cuda:0") == ({} if name == "mute" else told, "gave no answer within 1 s"), name
            if name == "whole":
                patch.setattr(
                    "dmx.doctor.devices.tried",
                    lambda device: ({"devices": ["cuda:0"]}, "") if device == "list" else tried(device),
                )
                said = states(devices())
                assert said["cuda:0 (one), bfloat16: gave no answer within 1 s"] == "warning"
                assert said["cuda:0 (one), float32: works (1 ms a step)"] == "ok"


def test_machine_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4096")
    monkeypatch.chdir(tmp_path)
    said = states(environment())
    assert said["OMP_NUM_THREADS=4096 sets threads of a training"] == "ok"
    assert [state for what, state in said.items() if "is more than the" in what] == ["warning"]
    assert said["this folder is in no git repository, so runs note no commit"] == "ok"
    total = psutil.virtual_memory().total / 2**30
    assert any(f"of {total:.1f} GB available" in what for what in states(machine(tmp_path)))


def test_what_a_run_would_not_record_of_the_code_is_said_as_reproduce_says_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    (tmp_path / "a.txt").write_text("one\n")
    (tmp_path / "x.png").write_bytes(b"\0\1")
    for words in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "first")):
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    (clean,) = [one for one in environment() if one.what.startswith("git commit")]
    assert "changes" not in clean.what
    (tmp_path / "notes.txt").write_text("not in git\n")
    only_new = [*environment()]
    assert "with changes that runs record" not in " ".join(one.what for one in only_new)
    new = only(iter(only_new), State.WARNING)
    assert new.what == "code: files that are not in git are not recorded: notes.txt"
    assert "dmx reproduce" in new.advice
    (tmp_path / "a.txt").write_text("two\n")
    (tmp_path / "x.png").write_bytes(b"\0\2")
    said = states(environment())
    assert said["code: changes of binary files are not recorded: x.png"] == "warning"
    assert any(what.endswith(", with changes that runs record as a diff") for what in said)
    commit, diff = git_state(tmp_path)
    lacking = restored(commit, diff, tmp_path.with_name("code"), [tmp_path]).differences
    assert sorted(lacking) == sorted(what for what in said if what.startswith("code: "))


def test_the_command_says_it_all_and_its_exit_code_is_1_where_something_is_wrong(home: Home) -> None:
    given = ["doctor", "--home", str(home.root), "--data", str(home.runs)]
    found = CliRunner().invoke(cli, given)
    assert found.exit_code == 0, found.output
    assert "Nothing is wrong." in found.output
    assert f"no data set in {home.runs} yet" in found.output
    for section in ("packages", "devices", "machine", "stores", "data", "environment"):
        assert f"{section}\n" in found.output
    home.mlflow_db.write_bytes(b"no database at all" * 1000)
    again = CliRunner().invoke(cli, [*given, "--json"], standalone_mode=False)
    assert again.return_value == 1
    (one,) = [one for one in json.loads(again.stdout) if one["state"] == "wrong"]
    assert one["section"] == "stores"
    assert one["advice"]


def test_a_folder_of_data_that_was_named_has_to_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = CliRunner().invoke(cli, ["doctor", "--home", "home", "--data", "nosuch"])
    assert found.exit_code == 2
    assert "'nosuch' does not exist" in found.output
    assert "no data set in data yet" in CliRunner().invoke(cli, ["doctor", "--home", "home"]).output  # the default
