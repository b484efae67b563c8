"""The driver of the tests of doors: thousands of mutated inputs, each of them let in or refused with one message.

A door is a class that puts mutated inputs in place and enters. Its inputs run in a process of their own, so that what
hangs, kills or eats memory is seen from outside. One of them again, with its traceback:

    PYTHONPATH=.:tests python tests/helpers/fuzzing.py tests/fuzz/test_packs.py Packs 1234 1
"""

import contextlib
import faulthandler
import importlib.util
import io
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from dmx.errors import UserError

ROOT = Path(__file__).parent.parent.parent
SECONDS, HANGS, BYTES = 10.0, 60.0, 2 * 2**30
"""What an input may take: of processor time, as tests run side by side; on the clock; and of memory."""
LONGEST = 2_000
"""Characters of a message."""
HALF_WRITTEN = re.compile(r"\.(part|partial|tmp)$|^\..*-\d+$")
LOCKS = re.compile(r"\.lock$|^lock$")
SHOWN = 20
"""Kinds of failures after which a series ends."""

SLOW = [pytest.mark.slow, pytest.mark.timeout(7200)]
COUNTS = pytest.mark.parametrize("count", ["few", pytest.param("many", marks=SLOW)])
"""How many inputs."""


class Door:
    """Where inputs come in.

    Attributes:
        seed: Of the inputs; input `index` is that of `default_rng((seed, index))`.
        few: How many inputs are tried in the fast tests.
        many: How many in the slow ones; fewer than 10,000 only where another door to the same takes those.
        codes: The exit codes that are right.
        folder: A place for its files, which are as they were made before each input.
    """

    seed: ClassVar[int] = 0
    few: ClassVar[int] = 150
    many: ClassVar[int] = 10_000
    codes: ClassVar[tuple[int, ...]] = (0, 2)

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.make()
        self._whole = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        self._known = {path: stamp(path) for path in self._whole}

    def make(self) -> None:
        """Make what is going to be mutated."""

    def mutate(self, rng: np.random.Generator) -> object:
        """Put a mutated input in place; gives it, to be shown."""
        raise NotImplementedError

    def enter(self) -> tuple[int, str] | None:
        """Go in: returns, perhaps with an exit code and a message, or raises `UserError`."""
        raise NotImplementedError

    def warm(self) -> None:
        """Enter with the whole input, which must go in; what is imported on the way is no input's time."""
        code, said = attempt(self)
        assert code in (0, 1), f"the whole input is refused: {said}"

    def whole(self, path: Path) -> bytes:
        """What was in a file before anything was changed."""
        return self._whole[path]

    def restore(self) -> None:
        """Make every file what it was."""
        for path in sorted(self.folder.rglob("*"), reverse=True):
            if path not in self._whole:
                path.rmdir() if path.is_dir() and not any(path.iterdir()) else path.is_file() and path.unlink()
        for path, data in self._whole.items():
            if not path.exists() or stamp(path) != self._known[path]:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
                self._known[path] = stamp(path)


def stamp(path: Path) -> tuple[int, int]:
    """By what a file shows that it was changed."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def command(*arguments: object) -> tuple[int, str]:
    """Runs the command line in this process; gives the exit code and what was said on stderr."""
    from dmx.cli import main

    out, err = io.StringIO(), io.StringIO()
    sys.argv = ["dmx", *map(str, arguments)]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as ended:
            return int(ended.code or 0), err.getvalue()
    raise AssertionError("the command line did not exit")


def attempt(door: Door) -> tuple[int, str]:
    """The exit code that a user would have seen, and the message."""
    try:
        return door.enter() or (0, "")
    except UserError as error:
        return 2, f"Error: {error}\n"


def wrong_with(door: Door, code: int, said: str, before: dict[str, int]) -> str:
    """What is wrong with how an input was received; nothing where all is well."""
    after = contents(door.folder)
    if code not in door.codes:
        return f"exit code {code}: {said[:500]}"
    if left := [name for name in after if HALF_WRITTEN.search(Path(name).name)]:
        return f"half-written: {left}"
    if code != 2:
        return ""
    messages = len(re.findall(r"^Error: ", said, re.MULTILINE))
    if messages != 1 or len(said) > LONGEST or "Traceback" in said:
        return f"{messages} messages of {len(said)} characters: {said[:500]}"
    if len(said.split("Error: ", 1)[1].strip()) < 10:
        return f"says nothing: {said!r}"
    if after != before:
        return f"refused, but changed: {sorted(set(after.items()) ^ set(before.items()))}"
    return ""


def contents(folder: Path) -> dict[str, int]:
    """Every file and folder but locks, with its size."""
    return {
        str(path.relative_to(folder)): path.stat().st_size if path.is_file() else -1
        for path in folder.rglob("*")
        if not LOCKS.search(path.name)
    }


def one(door: Door, index: int, show: bool = False) -> tuple[str, str]:
    """Input `index`; gives what kind of failure it is, and all about it: nothing where all is well."""
    door.restore()
    what = door.mutate(np.random.default_rng((door.seed, index)))
    if show:
        sys.stdout.write(f"{what!r:.5000}\n")
    before = contents(door.folder)
    try:
        code, said = attempt(door)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if "/dmx/" in frame.filename] or list(frames)
        kind = f"{type(error).__name__} at {ours[-1].filename}:{ours[-1].lineno}"
        return kind, f"{what!r:.1500}\n{''.join(traceback.format_exception(error))[-3_000:]}"
    if show:
        sys.stdout.write(f"{code} {said}\n")
    problem = wrong_with(door, code, said, before)
    return re.sub(r"\d+", "N", problem[:60]), f"{what!r:.1500}\n{problem}" if problem else ""


def series(door: Door, first: int, count: int, report: Callable[[str], Any], at: int) -> None:
    """Try inputs `first` and those after it; reports each kind of failure once, as a line of JSON."""
    door.restore()
    door.warm()
    soft = kept("VmData") + BYTES
    resource.setrlimit(resource.RLIMIT_DATA, (soft, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    found: dict[str, int] = {}
    for index in range(first, first + count):
        os.pwrite(at, f"{index:12}".encode(), 0)
        faulthandler.dump_traceback_later(HANGS, exit=True)
        start = time.process_time()
        kind, text = one(door, index)
        if not kind and (spent := time.process_time() - start) > SECONDS:
            kind, text = "time", f"{spent:.0f} s were taken"
        faulthandler.cancel_dump_traceback_later()
        if kind:
            found[kind] = found.get(kind, 0) + 1
        if kind and found[kind] == 1:
            report(json.dumps([kind, index, text]) + "\n")
        if len(found) == SHOWN:
            return
    peak = kept("VmHWM")  # not `ru_maxrss`, which begins with that of the process that started this one
    if peak > BYTES:
        report(json.dumps(["memory", first, f"{peak / 2**30:.1f} GiB were taken"]) + "\n")


def kept(line: str) -> int:
    """Bytes of this process by a line of its status: `VmHWM` is the peak in memory, `VmData` what only it has."""
    text = Path("/proc/self/status").read_text()
    return int(text.split(f"{line}:")[1].split()[0]) * 1024


def fuzz(door: type[Door], count: str) -> None:
    """Try its few or many inputs at a door, in a process of their own; fails with each kind of failure."""
    source = sys.modules[door.__module__].__file__
    assert source is not None
    number = str(getattr(door, count))
    with tempfile.TemporaryDirectory() as place:
        found, at = Path(place) / "found", Path(place) / "at"
        found.touch(), at.touch()
        path = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
        done = subprocess.run(
            [sys.executable, __file__, source, door.__name__, "0", number, str(found), str(at)],
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
            cwd=place,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        failures = [json.loads(line) for line in found.read_text().splitlines()]
        texts = [f"input {index} ({kind}): {text}" for kind, index, text in failures]
        if done.returncode:
            texts.append(
                f"input {at.read_text().strip()} ended the process ({done.returncode}): {done.stderr[-3_000:]}"
            )
    assert not texts, f"{door.__name__}, seed {door.seed}: " + "\n\n".join(texts)


def main() -> None:
    """In the process of the inputs, or by hand to see some of them again."""
    source, name, first, count, *files = sys.argv[1:]
    spec = importlib.util.spec_from_file_location("doors", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["doors"] = module
    spec.loader.exec_module(module)
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        door: Door = getattr(module, name)(Path(place))
        if files:
            with Path(files[0]).open("a", buffering=1) as found, Path(files[1]).open("r+") as at:
                series(door, int(first), int(count), found.write, at.fileno())
            return
        door.warm()
        for index in range(int(first), int(first) + int(count)):
            sys.stdout.write("\n".join((str(index), *one(door, index, show=True))) + "\n")


if __name__ == "__main__":
    main()
