"""Packs: what they give is what the folder gives, they survive a kill, and others can read them."""

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import fields
from hashlib import sha256
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dmx.data.dataset import QuartetDataset
from dmx.data.layout import DatasetIndex, read
from dmx.data.loader import make_loader
from dmx.data.pack import write
from dmx.data.pack.form import Encoding
from dmx.data.pack.write import pack
from dmx.data.reading import read_quartet
from dmx.data.resize import resize
from dmx.data.split import split
from dmx.errors import DataError
from dmx.quartet import HostBatch, Quartet

SIZE = (16, 24)


def same(one: Quartet, other: Quartet) -> bool:
    for field in fields(Quartet):
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        np.testing.assert_array_equal(mine, theirs)  # NaN equals NaN there
        assert getattr(mine, "dtype", None) == getattr(theirs, "dtype", None)
    return True


def quartets(index: DatasetIndex) -> list[Quartet]:
    assert index.pack is not None
    dataset = QuartetDataset(index, index.samples.column("id"), index.pack.size, memory=False)
    return [dataset[row] for row in range(len(dataset))]


def contents(folder: Path) -> dict[str, str]:
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("encoding", ["raw", "png"])
def test_a_pack_gives_what_the_folder_gives(
    rooms: DatasetIndex, tmp_path: Path, encoding: Encoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "SAMPLES_AT_MOST", 10)  # several files
    told: list[tuple[int, int]] = []
    summary = pack(
        rooms, tmp_path / "pack", size=SIZE, encoding=encoding, workers=1, progress=lambda *at: told.append(at)
    )
    assert str(summary) == f"{tmp_path}/pack now holds 27 samples in 7 groups"
    assert told[-1] == (27, 27)
    index = read(tmp_path / "pack")
    index.check_files()
    assert (index.name, index.depth, index.has_background) == (rooms.name, rooms.depth, True)
    assert [(r.id, r.group, r.split) for r in index.samples] == [(r.id, r.group, r.split) for r in rooms.samples]
    for found, record in zip(quartets(index), rooms.samples, strict=True):
        assert same(found, resize(read_quartet(rooms, record), SIZE))
    batches = [
        next(
            iter(make_loader(QuartetDataset(i, ids, SIZE, memory=memory), batch_size=9, seed=0, epoch=0, shuffle=True))
        )
        for ids in [rooms.samples.column("id")]
        for i, memory in ((rooms, False), (index, False), (index, True))
    ]
    for batch in batches[1:]:
        assert all(np.array_equal(getattr(batch, f.name), getattr(batches[0], f.name)) for f in fields(HostBatch))
    assert split(index, val=0.2, test=0.2, seed=0, by="group") == split(rooms, val=0.2, test=0.2, seed=0, by="group")
    backgrounds = sum(json.loads((tmp_path / "pack/pack.json").read_text())["backgrounds"][i]["rows"] for i in range(1))
    assert backgrounds == 7  # each once


def test_unknown_pixels_labels_and_floats_come_through(folder: Path, tmp_path: Path) -> None:
    declared = yaml.safe_load((folder / "dataset.yaml").read_text())
    depth = np.full((6, 8), 2.5, np.float32)
    depth[2, 2] = np.nan
    for name in ("s0", "s1"):
        np.save(folder / f"depth/{name}.npy", depth)
    text = (folder / "samples.csv").read_text()
    (folder / "samples.csv").write_text(
        text.replace("s0.png,back", "s0.npy,back").replace("s1.png,back", "s1.npy,back")
    )
    declared["depth"] |= {"scale": 1.0, "unknown": []}
    declared["mask"] = {"labels": [255], "unknown": 0}
    (folder / "dataset.yaml").write_text(yaml.safe_dump(declared))
    for encoding in ("raw", "png"):
        pack(read(folder), tmp_path / encoding, size=(12, 16), encoding=encoding, workers=1)  # type: ignore[arg-type]
        index = read(tmp_path / encoding)
        found = quartets(index)[0]
        assert same(found, resize(read_quartet(read(folder), read(folder).samples[0]), (12, 16)))
        assert not found.valid[4:6, 4:6].any()
        assert np.count_nonzero(~found.valid) == 4
        assert not found.mask_valid[found.mask == 0].any()


def test_triplets_and_sets_without_depth(folder: Path, tmp_path: Path) -> None:
    declared = yaml.safe_load((folder / "dataset.yaml").read_text())
    (folder / "dataset.yaml").write_text(yaml.safe_dump(declared | {"depth": None}))
    (folder / "samples.csv").write_text("id,group,image,mask\ns0,a,image/s0.png,mask/s0.png\n")
    pack(read(folder), tmp_path / "pack", size=(6, 8), workers=1)
    index = read(tmp_path / "pack")
    assert not index.has_background
    assert index.samples[0].depth is None
    assert not quartets(index)[0].valid.any()


def test_the_same_bytes_for_any_number_of_workers(rooms: DatasetIndex, tmp_path: Path) -> None:
    for workers in (1, 2):
        pack(rooms, tmp_path / str(workers), size=SIZE, workers=workers)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    again = pack(rooms, tmp_path / "1", size=SIZE)
    assert str(again) == f"{tmp_path}/1 holds already 27 samples in 7 groups"
    assert read(tmp_path / "1").fingerprint() == read(tmp_path / "2").fingerprint() != rooms.fingerprint()


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


@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_killed_at_random_moments_it_goes_on_to_the_same_bytes(rooms: DatasetIndex, tmp_path: Path, kills: int) -> None:
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
    for kill in range(kills):
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


def test_pyarrow_and_hugging_face_read_it(rooms: DatasetIndex, tmp_path: Path) -> None:
    pack(rooms, tmp_path / "pack", size=SIZE, workers=1)
    table = pa.ipc.open_stream(pa.memory_map(str(tmp_path / "pack/samples-00000.arrow"))).read_all()
    first = resize(read_quartet(rooms, rooms.samples[0]), SIZE)
    pixels = np.frombuffer(table["image"][0].as_buffer(), np.uint8).reshape(*SIZE, 3)
    np.testing.assert_array_equal(pixels, first.image)
    found = datasets.Dataset.from_file(str(tmp_path / "pack/samples-00000.arrow"))
    assert found.num_rows == 27
    assert found[0]["id"] == rooms.samples[0].id
    assert found[0]["image"] == first.image.tobytes()


def test_what_is_wrong_with_a_pack_is_said(rooms: DatasetIndex, tmp_path: Path) -> None:
    out = tmp_path / "pack"
    pack(rooms, out, size=SIZE, workers=1)
    with pytest.raises(DataError) as caught:
        pack(read(out), tmp_path / "other", size=SIZE)
    assert str(caught.value) == f"{out}: is a pack; pack the data set that it was made from."
    with pytest.raises(DataError) as caught:
        pack(rooms, out, size=(8, 8))
    assert str(caught.value) == (
        f"{out}: is there already and is not overwritten; choose another folder or remove it yourself."
    )
    shard = out / "samples-00000.arrow"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1])
    with pytest.raises(DataError) as caught:
        read(out)
    assert str(caught.value) == (
        f"{shard}: has {len(whole) - 1} bytes instead of {len(whole)}; remove {out} and pack the data set again."
    )
    shard.unlink()
    with pytest.raises(
        DataError, match=r"samples-00000.arrow: is missing; remove .*/pack and pack the data set again.$"
    ):
        read(out)
    info = json.loads((out / "pack.json").read_text())
    (out / "pack.json").write_text(json.dumps(info | {"version": 99, "samples": [], "backgrounds": []}))
    with pytest.raises(DataError) as caught:
        read(out)
    assert str(caught.value) == (
        f"{out}/pack.json: is of version 99, but this dmx reads 1; remove {out} and pack the data set again."
    )
    (out / "pack.json").write_text("{")
    with pytest.raises(
        DataError, match=r"pack.json: is damaged \(JSONDecodeError: .*\); remove .*/pack and pack the data set again.$"
    ):
        read(out)


def test_a_broken_picture_leaves_nothing_behind(folder: Path, tmp_path: Path) -> None:
    (folder / "mask/s1.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"mask/s1.png: is neither PNG nor JPEG"):
        pack(read(folder), tmp_path / "pack", size=SIZE, workers=1)
    assert list(tmp_path.glob("*pack*")) == []


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
