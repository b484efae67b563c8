"""The record of a prediction, `manifest.jsonl`: by it the same command goes on where it was stopped."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from dmx.data.folders import inside
from dmx.errors import DataError
from dmx.stored import intact, make_folder, replace_bytes

FILE = "manifest.jsonl"
LOCK = ".lock"
BEGUN, OK, FAILED = "begun", "ok", "failed"
BEFORE = {"done": OK}
"""What earlier versions wrote for it."""


@dataclass(frozen=True)
class Entry:
    """What became of one picture.

    Attributes:
        name: Its name.
        source: The file that it is in.
        status: `ok` or `failed`.
        width: Its width in pixels, once upright.
        height: Its height.
        outputs: The files that were written, relative to the folder, by what they hold.
        error: Why it failed; None if it did not.
    """

    name: str
    source: str
    status: str
    width: int | None = None
    height: int | None = None
    outputs: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None


class Manifest:
    """The manifest of a folder, which this process alone may write meanwhile.

    Its first line says with what the folder was begun; then there is a line for each picture, and each line repeats
    the networks and the settings. Pictures that failed are forgotten as it is opened, so that they are tried again.

    Args:
        folder: The folder; made if it is not there.
        facts: `networks` and `settings`; a folder that was begun with others is refused.

    Attributes:
        done: The pictures that are done, by name.

    Raises:
        DataError: The folder holds something else, was begun with other networks or settings, or is in use.
    """

    def __init__(self, folder: Path, facts: Mapping[str, Any]) -> None:
        self._path, self._facts = folder / FILE, facts
        self._advice = f"remove {folder} and predict again."
        there = self._check(folder)
        make_folder(folder)
        self._lock = FileLock(folder / LOCK)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise DataError(f"{folder}: another process is writing it; wait until it has ended, or stop it.") from None
        there = there and self._check(folder)  # again under the lock
        self.done = {entry.name: entry for entry in self._read() if entry.status == OK} if there else {}
        kept = [self._line({"name": None, "status": BEGUN}), *(self._line(asdict(one)) for one in self.done.values())]
        replace_bytes(self._path, b"".join(kept), durable=True)
        self._file: BinaryIO = self._path.open("ab")

    def __enter__(self) -> "Manifest":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()
        with suppress(OSError):  # on Windows, where a file that is open stays, and the release removes it
            (self._path.parent / LOCK).unlink()  # while it is held: after that it may be another process's
        self._lock.release()

    def add(self, entry: Entry) -> None:
        """Append a picture; once this returns, a killed process does not lose it."""
        self._file.write(self._line(asdict(entry)))
        self._file.flush()

    def _line(self, entry: Mapping[str, Any]) -> bytes:
        return f"{json.dumps({**entry, **self._facts})}\n".encode()

    def _check(self, folder: Path) -> bool:
        """Whether the folder was begun by the same command."""
        files, folders = inside(folder)
        if not self._path.is_file():
            if files or folders or folder.is_file():
                raise DataError(
                    f"{folder}: is there already and is not overwritten: it has no {FILE} of `dmx predict`; choose "
                    "another folder or remove it yourself."
                )
            return False
        with intact(self._path, self._advice):
            first = self._lines()[0]
            before = {"networks": first["networks"], **first["settings"]}
        now = {"networks": self._facts["networks"], **self._facts["settings"]}
        if other := [name for name in now if before.get(name) != now[name]]:
            listing = ", ".join(f"{name} {_short(before.get(name))} instead of {_short(now[name])}" for name in other)
            raise DataError(f"{folder}: was begun with {listing}; choose another folder, or repeat that command.")
        return True

    def _lines(self) -> list[dict[str, Any]]:
        """The lines; a torn last one, of a process that was killed, is left out."""
        with intact(self._path, f"remove {self._path.parent} and predict again."):
            return [
                json.loads(line) for line in self._path.read_bytes().splitlines(keepends=True) if line[-1:] == b"\n"
            ]

    def _read(self) -> list[Entry]:
        with intact(self._path, self._advice):
            names = [one.name for one in fields(Entry)]
            lines = [{**line, "status": BEFORE.get(line["status"], line["status"])} for line in self._lines()[1:]]
            return [Entry(**{"error": None, **{name: line[name] for name in names if name in line}}) for line in lines]


def _short(value: Any) -> str:
    """A setting for a message: of networks, the runs with the beginning of the checksum of their weights."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return " and ".join(f"{one.get('run')} ({str(one.get('sha256'))[:8]})" for one in value)
    return json.dumps(value)
