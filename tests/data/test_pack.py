"""Packs: what they give is what the folder gives, and others can read them."""

import json
from dataclasses import fields
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pytest
import yaml
from helpers.packing import SIZE, contents, quartets, same

from dmx.data.dataset import QuartetDataset
from dmx.data.layout import DatasetIndex, read
from dmx.data.loader import Sampling, make_loader
from dmx.data.pack import write
from dmx.data.pack.form import Encoding
from dmx.data.pack.write import pack
from dmx.data.reading import read_quartet
from dmx.data.resize import resize
from dmx.data.split import split
from dmx.errors import DataError
from dmx.quartet import HostBatch


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
            iter(
                make_loader(
                    QuartetDataset(i, ids, SIZE, memory=memory), Sampling(batch_size=9, seed=0, epoch=0, shuffle=True)
                )
            )
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
    pack(read(folder), tmp_path / "pack", size=(8, 8), workers=1)
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
        f"{out}/pack.json: is of version 99, but this dmx reads 2; remove {out} and pack the data set again."
    )
    (out / "pack.json").write_text(json.dumps(info | {"samples": []}))
    with pytest.raises(DataError, match=r"pack.json: is damaged \(no files of samples\); remove "):
        read(out)
    (out / "pack.json").write_text("{")
    with pytest.raises(
        DataError, match=r"pack.json: is damaged \(JSONDecodeError: .*\); remove .*/pack and pack the data set again.$"
    ):
        read(out)


def test_a_broken_picture_leaves_nothing_behind(folder: Path, tmp_path: Path) -> None:
    (folder / "mask/s1.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"mask/s1.png: is truncated or damaged \(0 bytes\)"):
        pack(read(folder), tmp_path / "pack", size=SIZE, workers=1)
    assert list(tmp_path.glob("*pack*")) == []


def test_pictures_that_nothing_says_how_to_read_are_damage(rooms: DatasetIndex, tmp_path: Path) -> None:
    out = tmp_path / "pack"
    pack(rooms, out, size=SIZE, encoding="png", workers=1)
    shard = out / "backgrounds-00000.arrow"
    whole = shard.read_bytes()
    at = whole.index(b"image", whole.index(b"shape"))  # the column's name; how to read it comes before, as JSON
    shard.write_bytes(whole[:at] + b"imbge" + whole[at + 5 :])
    with pytest.raises(DataError, match=r"backgrounds-00000.arrow: is damaged \(ValueError\); remove "):
        quartets(read(out))
