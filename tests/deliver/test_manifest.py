"""The manifest of a prediction: one process at a time writes it."""

from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from dmx.deliver.manifest import LOCK, Manifest

FACTS = {"networks": [], "settings": {}}


def test_two_processes_never_hold_it_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that comes at the moment at which it is released keeps it from the next."""
    second = FileLock(tmp_path / "out" / LOCK, timeout=0)
    release = FileLock.release
    with Manifest(tmp_path / "out", FACTS):

        def released(lock: FileLock, force: bool = False) -> None:
            monkeypatch.undo()
            release(lock, force)
            second.acquire()

        monkeypatch.setattr(FileLock, "release", released)
    assert second.is_locked
    with pytest.raises(Timeout), FileLock(tmp_path / "out" / LOCK, timeout=0):
        pass
    second.release()


def test_its_lock_is_gone_at_the_end(tmp_path: Path) -> None:
    with Manifest(tmp_path / "out", FACTS):
        assert (tmp_path / "out" / LOCK).is_file()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["manifest.jsonl"]
