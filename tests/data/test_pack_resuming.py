"""Packs survive kills and losses of power, and are made of what is there."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import pytest
from helpers.packing import SIZE, contents
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dmx.data.dataset import QuartetDataset
from dmx.data.layout import DatasetIndex, read
from dmx.data.pack import write
from dmx.data.pack.write import pack
from dmx.errors import DataError

KILLED = """
import sys
from pathlib import Path
from dmx.data.layout import read
from dmx.data.pack import write
write.SAMPLES_AT_MOST = 3
if __name__ == "__main__":
    print("ready", flush=True)
    write.pack(read(Path(sys.argv[1])), Path(sys.argv[2]), size=(48, 48), workers=1)
"""


@pytest.mark.slow
def test_killed_at_random_moments_it_goes_on_to_the_same_bytes(rooms: DatasetIndex, tmp_path: Path) -> None:
    def start(out: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(rooms.root), str(out)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    whole = start(tmp_path / "whole")
    begun = time.monotonic()
    assert whole.wait() == 0
    seconds = time.monotonic() - begun
    draw = random.Random(0)
    stopped = 0
    for kill in range(10):
        process = start(tmp_path / "killed")
        time.sleep(draw.uniform(0, seconds))
        os.kill(process.pid, signal.SIGKILL)
        stopped += process.wait() == -signal.SIGKILL
        if process.returncode == 0:
            (tmp_path / "killed").rename(tmp_path / f"done{kill}")  # it was quicker: once more from the start
            seconds /= 2
    assert stopped > 0
    process = start(tmp_path / "killed")
    assert process.wait() == 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.glob(".*")) == []


def stopped(index: DatasetIndex, out: Path) -> Path:
    """What is left of a packing that was stopped after three of four files."""

    def stop(done: int, total: int) -> None:
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(index, out, size=SIZE, workers=1, progress=stop)
    stage = out.with_name(f".{out.name}.partial")
    assert sorted(path.name for path in stage.glob("*.arrow")) == [f"samples-0000{i}.arrow" for i in range(3)]
    return stage


@pytest.mark.parametrize("damage", ["cut", "zeros", "note", "scratch"])
def test_what_a_loss_of_power_has_damaged_is_written_again(
    rooms: DatasetIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    monkeypatch.setattr(write, "SAMPLES_AT_MOST", 10)
    pack(rooms, tmp_path / "whole", size=SIZE, workers=1)
    stage = stopped(rooms, tmp_path / "pack")
    shard = stage / "samples-00001.arrow"
    data = shard.read_bytes()
    middle = len(data) // 2
    if damage == "cut":
        shard.write_bytes(b"")
    elif damage == "zeros":
        shard.write_bytes(data[:middle] + bytes(64) + data[middle + 64 :])
    elif damage == "note":
        (stage / ".notes/samples-00001.arrow.sha256").write_bytes(b"")
    else:
        (stage / ".notes/samples-00003.arrow.12345.tmp").write_bytes(data[:middle])
    before = (stage / "samples-00000.arrow").stat().st_mtime_ns
    pack(rooms, tmp_path / "pack", size=SIZE, workers=1)
    assert contents(tmp_path / "pack") == contents(tmp_path / "whole")
    assert (tmp_path / "pack/samples-00000.arrow").stat().st_mtime_ns == before  # whole ones are kept


def test_it_goes_on_by_any_name_of_the_data_set_but_not_with_other_data(folder: Path, tmp_path: Path) -> None:
    def interrupted(out: Path) -> None:
        def stop(done: int, total: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            pack(read(folder), out, size=SIZE, workers=1, progress=stop)

    interrupted(tmp_path / "one")
    (tmp_path / "link").symlink_to(folder)
    pack(read(tmp_path / "link"), tmp_path / "one", size=SIZE, workers=1)
    interrupted(tmp_path / "two")
    picture = folder / "depth/s0.png"
    picture.write_bytes(picture.read_bytes())
    os.utime(picture, ns=(0, 0))
    with pytest.raises(DataError) as caught:
        pack(read(folder), tmp_path / "two", size=SIZE, workers=1)
    text = str(caught.value)
    assert text.startswith(f"{tmp_path}/.two.partial: is what another command has begun (dmx data pack --size 16x24 ")
    assert text.endswith(
        "); repeat that one, or remove this folder to begin anew: nothing but its unfinished work is in it."
    )


def test_data_that_change_between_two_packings_are_packed_as_they_are(folder: Path, tmp_path: Path) -> None:
    pack(read(folder), tmp_path / "two", size=SIZE, workers=1)
    lines = (folder / "samples.csv").read_text().splitlines()
    (folder / "samples.csv").write_text("\n".join(lines[:-1]) + "\n")
    pack(read(folder), tmp_path / "one", size=SIZE, workers=1)
    (folder / "samples.csv").write_text("\n".join([lines[0], lines[1].replace("s1,a", "new,a")]) + "\n")
    pack(read(folder), tmp_path / "other", size=SIZE, workers=1)
    assert [read(tmp_path / name).samples.column("id") for name in ("two", "one", "other")] == [
        ["s0", "s1"],
        ["s1"],
        ["new"],
    ]


def crash(stage: str, root: str, delay: float) -> None:
    time.sleep(delay)
    write._write(Path(stage), read(Path(root)), write.Job("samples", 0, 0, 27, (512, 512), "raw"))


def test_two_processes_may_write_the_same_file(rooms: DatasetIndex, tmp_path: Path) -> None:
    (tmp_path / ".notes").mkdir()
    context = multiprocessing.get_context("fork")
    both = [context.Process(target=crash, args=(str(tmp_path), str(rooms.root), delay)) for delay in (0, 0.02)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert [one.exitcode for one in both] == [0, 0]
    found = sha256((tmp_path / "samples-00000.arrow").read_bytes()).hexdigest()
    assert (tmp_path / ".notes/samples-00000.arrow.sha256").read_text() == found
    assert list(tmp_path.rglob("*.tmp")) == []


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_damaged_file_of_a_pack_is_told_or_harmless(
    rooms: DatasetIndex, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Nothing but `DataError` comes of bytes that are not what was written."""
    out = tmp_path_factory.mktemp("damaged") / "pack"
    pack(rooms, out, size=(2, 2), encoding=data.draw(st.sampled_from(["raw", "png"])), workers=1)
    shard = out / data.draw(st.sampled_from(["samples-00000.arrow", "backgrounds-00000.arrow"]))
    whole = shard.read_bytes()
    start = data.draw(st.integers(0, len(whole) - 1))
    changed = data.draw(st.binary(min_size=1, max_size=64) | st.integers(1, len(whole)).map(bytes))
    shard.write_bytes((whole[:start] + changed + whole[start + len(changed) :])[: len(whole)])
    with suppress(DataError):
        index = read(out)
        dataset = QuartetDataset(index, index.samples.column("id"), (2, 2), memory=False)
        dataset.__getitems__(range(len(dataset)))
