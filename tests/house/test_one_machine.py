"""What one system has and another has not is known in `dmx.machine` alone, and the program runs where it is missing."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
ELSEWHERE = [path for path in sorted((ROOT / "dmx").rglob("*.py")) if path.name != "machine.py"]
NAMES = {
    "O_BINARY",
    "SIGALRM",
    "SIGCHLD",
    "SIGHUP",
    "SIGKILL",
    "SIGTTOU",
    "fcntl",
    "fork",
    "forkserver",
    "getpgid",
    "getrusage",
    "getuid",
    "killpg",
    "nice",
    "process_cpu_count",
    "process_group",
    "pthread_kill",
    "register_at_fork",
    "resource",
    "sched_getaffinity",
    "setpgid",
    "setsid",
    "start_new_session",
    "statvfs",
    "sysconf",
    "termios",
}
PLACES = ("/proc", "/dev/shm", "/sys/")


def named(source: str) -> Iterator[str]:
    """Modules, attributes, keywords and texts that only some systems know."""
    tree = ast.parse(source)
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                found = {name.name.partition(".")[0] for name in names} | {str(getattr(node, "module", ""))}
            case ast.Attribute(attr=name) | ast.keyword(arg=name):
                found = {str(name)}
            case ast.Constant(value=str(text)) if id(node) not in docs:
                found = {text} | {place for place in PLACES if text.startswith(place)}
            case _:
                continue
        yield from found & {*NAMES, *PLACES}


def test_the_rule_sees_what_it_is_for() -> None:
    source = "import fcntl\nfrom multiprocessing import forkserver\nos.nice(1)\nPopen(process_group=0)\nopen('/proc/x')"
    assert sorted(named(source)) == ["/proc", "fcntl", "forkserver", "nice", "process_group"]
    assert not list(named("'/proc is not named in a docstring'"))


def test_only_one_module_names_what_some_systems_lack() -> None:
    found = {str(path.relative_to(ROOT)): sorted(set(named(path.read_text(encoding="utf-8")))) for path in ELSEWHERE}
    assert {path: names for path, names in found.items() if names} == {}


WITHOUT = """
import multiprocessing, os, signal
for name in ("sched_getaffinity", "process_cpu_count", "nice", "fork", "setpgid", "killpg"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGHUP", "SIGTTOU", "pthread_kill"):
    delattr(signal, name)
multiprocessing.get_all_start_methods = lambda: ["spawn"]
multiprocessing.set_start_method("spawn")
"""
"""Much of what Linux alone has, or macOS and Windows lack.

`fcntl`, `resource`, `SIGKILL` and `os.register_at_fork` stay: libraries, as multiprocessing, go by the system's name,
and need them on Linux.
"""


@pytest.fixture
def elsewhere(tmp_path: Path) -> dict[str, str]:
    """The environment of a process that lacks all that."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(WITHOUT)
    return {**os.environ, "PYTHONPATH": f"{tmp_path / 'site'}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}


def dmx(environment: dict[str, str], *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dmx", *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)


def test_there_it_is_taken_away(elsewhere: dict[str, str]) -> None:
    code = "import os, signal, dmx.machine; print(hasattr(os, 'sched_getaffinity'), hasattr(signal, 'SIGHUP'))"
    done = subprocess.run([sys.executable, "-c", code], env=elsewhere, capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


def test_there_data_are_made_checked_and_packed(elsewhere: dict[str, str], tmp_path: Path) -> None:
    data = tmp_path / "rooms"
    for words in (
        ("data", "synth", data, "--count", 40, "--size", 16),
        ("data", "check", data),
        ("data", "pack", data, tmp_path / "pack", "--size", 16),
    ):
        done = dmx(elsewhere, *words)
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_there_a_study_is_swept(elsewhere: dict[str, str], tmp_path: Path, tiny) -> None:
    """The pool, its workers, the forwarder and loader processes, all of them started anew."""
    experiment = tiny(data={**tiny()["data"], "workers": 1, "cache": "none"})
    experiment["stages"][0]["epochs"] = 1
    study = {"name": "s", "experiment": experiment, "search": {"optimizer.adamw.lr": [1e-3, 1e-2]}, "trials": 2}
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study))
    done = dmx(elsewhere, "sweep", path, "--workers", 2, "--home", tmp_path / "home")
    assert done.returncode == 0, done.stderr + done.stdout
    assert "Study s: 2 of 2 trials" in done.stdout
