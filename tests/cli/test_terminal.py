"""Output on terminals that know little, to readers that leave, and without a home folder."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from dmx.cli import paths, terminal
from dmx.datatools.synth import synth
from dmx.errors import UserError

Run = Callable[..., Any]
UNKNOWN = "a\N{FULL BLOCK}\N{LEFT ONE EIGHTH BLOCK} \N{HORIZONTAL ELLIPSIS} \u00e4 \u2192 \udcff b"


def stream(encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)


@pytest.mark.parametrize(
    ("encoding", "written"),
    [
        ("ascii", b"a## ... ? -> \\xff b"),
        ("latin-1", b"a## ... \xe4 -> \\xff b"),
        ("utf-8", UNKNOWN.replace("\udcff", "\\xff").encode()),
    ],
)
def test_what_a_terminal_does_not_know_is_replaced(
    monkeypatch: pytest.MonkeyPatch, encoding: str, written: bytes
) -> None:
    below = stream(encoding)
    monkeypatch.setattr(sys, "stdout", below)
    terminal.forgiving()
    print(UNKNOWN, end="")  # noqa: T201
    assert below.buffer.getvalue() == written  # type: ignore[attr-defined]
    click.echo(UNKNOWN)  # which writes UTF-8 to what it takes for a misconfigured stream
    assert below.buffer.getvalue() == written * 2 + b"\n"  # type: ignore[attr-defined]


def test_a_closed_stream_is_none_to_write_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    terminal.forgiving()
    assert sys.stdout.write("x") == 1
    sys.stdout.close()


ASCII_ALONE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
COMMAND = [sys.executable, "-m", "dmx", "data"]


def said(arguments: list[str], **environment: str) -> tuple[int, bytes, bytes]:
    done = subprocess.run(
        [*COMMAND, *arguments], capture_output=True, env={**os.environ, "COLUMNS": "80", **environment}, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        ASCII_ALONE,
        {"LC_ALL": "POSIX"},
        {"TERM": "dumb", "COLUMNS": "1"},
        {"COLUMNS": "0"},
        {"COLUMNS": "many"},
        {"HOME": "/nonexistent"},
        {"HOME": ""},
        {"TMPDIR": "/nonexistent"},
    ],
    ids=lambda environment: " ".join(f"{key}={value}" for key, value in environment.items()),
)
def test_messages_in_any_environment(environment: dict[str, str]) -> None:
    code, out, err = said(["check", "/nowhere/\u00e4\u2192"], **environment)
    assert (code, out) == (2, b"")
    assert err.startswith(b"Error: /nowhere/")
    assert b"Traceback" not in err
    assert b"no such folder of data" in err


def test_an_ascii_terminal_gets_ascii_alone() -> None:
    assert (
        said(["check", "/nowhere/\u00e4\u2192"], PYTHONIOENCODING="ascii")[2]
        .decode("ascii")
        .startswith("Error: /nowhere/?->: no such")
    )


def test_a_data_set_of_any_name_where_the_system_knows_ascii_alone(tmp_path: Path) -> None:
    data, packed = tmp_path / "\u00fc/d", tmp_path / "\u00e4"
    synth(data, count=4, size=32, seed=0, workers=1)
    code, out, err = said(["check", str(data)], **ASCII_ALONE)
    assert (code, err.strip()) == (0, b"")
    assert b": 4 samples, 0 errors" in out
    code, out, err = said(["pack", str(data), str(packed), "--size", "32"], **ASCII_ALONE)
    assert (code, err.strip()) == (0, b"")
    code, out, err = said(["stats", str(packed)], **ASCII_ALONE)
    assert (code, out) == (2, b"")  # its files were opened before it is told from a folder of pictures
    assert b": is a pack without statistics; " in b" ".join(err.split())


def test_a_path_in_a_file_that_the_system_has_no_letters_for(tmp_path: Path) -> None:
    columns = {"image": "image", "mask": "mask"}
    mapping = {"name": "a", "folder": "\u00fc", "depth": None, "manifest": "a.csv", "columns": columns, "group": "id"}
    (tmp_path / "a.yaml").write_text(json.dumps(mapping, ensure_ascii=False), "utf-8")
    command = ["import", "mapping", str(tmp_path / "a.yaml"), str(tmp_path / "out")]
    code, out, err = said(command, **ASCII_ALONE)
    assert (code, out) == (2, b"")
    assert b" ".join(err.split()) == (
        b"Error: ? is no path where names of files are in ascii, as this system's language settings say; set "
        b"PYTHONUTF8=1 or LC_ALL=C.UTF-8."
    )


def test_a_reader_that_leaves_ends_nothing_badly() -> None:
    with subprocess.Popen([*COMMAND, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()  # before a byte is written
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_a_disk_that_is_full_is_said() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*COMMAND, "--help"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "Error: the output cannot be written (No space left on device); send it elsewhere.\n"


def test_names_of_bytes_that_are_no_text(dmx: Run, tmp_path: Path) -> None:
    found = dmx("data", "check", tmp_path / os.fsdecode(b"x\xff"))
    assert found.code == 2
    assert found.err.startswith(f"Error: {tmp_path}/x\\xff: no such folder of data")


@pytest.mark.parametrize("arguments", [["x" * 100_000], ["data", "check", "x" * 100_000], ["data", "x" * 100_000]])
def test_messages_stay_short_whatever_was_given(dmx: Run, arguments: list[str]) -> None:
    found = dmx(*arguments)
    assert found.code == 2
    assert len(found.err) < 2000
    assert "more characters" in found.err


def test_the_home_folder_in_paths_of_the_command_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    @click.command()
    @click.option("--where", type=paths.UserPath(file_okay=False), envvar="WHERE")
    def command(where: Path) -> Path:
        return where

    assert command(["--where=~/a"], standalone_mode=False) == tmp_path / "a"
    monkeypatch.setenv("WHERE", "~/b")
    assert command([], standalone_mode=False) == tmp_path / "b"
    with pytest.raises(UserError, match="too long"):
        command(["--where", "x" * 300], standalone_mode=False)


def test_nothing_to_rank_says_what_there_is(dmx: Run, tmp_path: Path) -> None:
    def refused(*arguments: str) -> str:
        found = dmx("leaderboard", *arguments, "--home", tmp_path)
        assert found.code == 2
        return str(found.err)

    assert refused() == f"Error: no single run has finished in {tmp_path}; `dmx train` makes one.\n"
    (tmp_path / "studies/quickstart").mkdir(parents=True)
    assert refused() == (
        f"Error: no single run has finished in {tmp_path}; `dmx leaderboard STUDY` ranks those of a study: "
        "quickstart.\n"
    )
    assert refused("quickstart") == (
        f"Error: no run of study 'quickstart' has finished in {tmp_path}; `dmx sweep` goes on with it.\n"
    )
    assert refused("quickstrat") == (
        f"Error: there is no study 'quickstrat' in {tmp_path}; did you mean 'quickstart'? Known: quickstart\n"
    )


@pytest.mark.parametrize(("given", "then"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_threads_that_wait_sleep_unless_the_user_says_otherwise(given: dict[str, str], then: str) -> None:
    code = (
        "import atexit, os, sys; sys.argv = ['dmx', '--version']; "
        "atexit.register(lambda: print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)); "
        "from dmx.cli import main; main()"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"} | given
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"{then} False"
