"""What appears whole or not at all, and what goes on after a stop."""

import subprocess
import sys
from pathlib import Path

import pytest

from dmx.data.writing import resumable, staged
from dmx.errors import DataError


def interrupted(out: Path, plan: str) -> None:
    def write() -> None:
        with resumable(out, plan) as stage:
            (stage / "one").write_text("1")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()


def test_what_was_stopped_goes_on_and_leaves_nothing_behind(tmp_path: Path) -> None:
    out = tmp_path / "deep/out"
    interrupted(out, "a")
    assert not out.exists()
    with resumable(out, "a") as stage:
        assert (stage / "one").read_text() == "1"
        (stage / "two").write_text("2")
    assert sorted(path.name for path in out.iterdir()) == ["one", "two"]
    assert list(out.parent.iterdir()) == [out]


def refused(out: Path, *, written: bool) -> None:
    def write() -> None:
        with resumable(out, "a") as stage:
            (stage / "deep").mkdir(exist_ok=True)
            if written:
                (stage / "deep/one").write_text("1")
            raise DataError("a picture cannot be read (Input/output error)")

    with pytest.raises(DataError, match="Input/output error"):
        write()


def test_a_users_mistake_leaves_nothing_behind_but_what_has_been_written(tmp_path: Path) -> None:
    refused(tmp_path / "out", written=False)
    assert list(tmp_path.iterdir()) == []
    refused(tmp_path / "out", written=True)  # hours of work, and a disk that failed once
    with resumable(tmp_path / "out", "a") as stage:
        assert (stage / "deep/one").read_text() == "1"
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


def test_only_the_same_plan_goes_on(tmp_path: Path) -> None:
    interrupted(tmp_path / "out", "a")
    with pytest.raises(DataError) as caught, resumable(tmp_path / "out", "b"):
        pass
    assert str(caught.value) == (
        f"{tmp_path}/.out.partial: is what another command has begun (a); repeat that one, or remove this folder to "
        "begin anew: nothing but its unfinished work is in it."
    )
    interrupted(tmp_path / "out", "a")  # the refusal has changed nothing


@pytest.mark.parametrize("make", [staged, lambda out: resumable(out, "a")])
def test_what_is_there_is_not_overwritten(tmp_path: Path, make) -> None:
    (tmp_path / "out").mkdir()
    with make(tmp_path / "out"):  # an empty folder is no loss
        pass
    (tmp_path / "out/kept").write_text("")
    with pytest.raises(DataError) as caught, make(tmp_path / "out"):
        pass
    assert str(caught.value) == (
        f"{tmp_path}/out: is there already and is not overwritten; choose another folder or remove it yourself."
    )
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["kept"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


HOLD = """
import sys
from pathlib import Path
from dmx.data.writing import resumable
with resumable(Path(sys.argv[1]), "a") as stage:
    print("in", flush=True)
    sys.stdin.read()
"""


def test_two_processes_do_not_work_on_the_same_and_a_killed_one_frees_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "out")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "in\n"
        with pytest.raises(DataError) as caught, resumable(tmp_path / "out", "a"):
            pass
        text = str(caught.value)
        assert text == f"{tmp_path}/out: another process is making it; wait until it has ended, or stop it."
        holder.kill()
    with resumable(tmp_path / "out", "a"):
        pass
    assert (tmp_path / "out").is_dir()
