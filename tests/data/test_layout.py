"""The canonical folder: what it says is read, and whatever is wrong with it is said."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from dmx.data.layout import DatasetIndex, read
from dmx.data.reading import read_quartet
from dmx.errors import ConfigError, DataError, UserError
from dmx.quartet import DepthSpec


def test_reads_samples_in_order_of_id(folder: Path) -> None:
    index = read(folder)
    assert [record.id for record in index.samples] == ["s0", "s1"]
    assert index.name == "plain"
    assert index.depth == DepthSpec("metric", 1.0, 5.0, near="low")
    assert index.has_background
    assert index.samples[0].group == "a"
    assert index.samples[0].split is None
    assert index.samples[0].paths() == {
        "image": "image/s0.png",
        "mask": "mask/s0.png",
        "depth": "depth/s0.png",
        "background": "background/b.png",
    }
    assert index.files() == sorted(
        ["background/b.png", *(f"{role}/s{i}.png" for role in ("image", "mask", "depth") for i in (0, 1))]
    )


def test_scans_role_folders_without_a_list(folder: Path) -> None:
    (folder / "samples.csv").unlink()
    (folder / "background/b.png").unlink()
    (folder / "image/notes.txt").write_text("not a picture")
    index = read(folder)
    assert [(r.id, r.group, r.background) for r in index.samples] == [("s0", "s0", None), ("s1", "s1", None)]
    assert not index.has_background


def test_scan_names_the_partners_that_are_missing(folder: Path) -> None:
    (folder / "samples.csv").unlink()
    (folder / "mask/s1.png").unlink()
    with pytest.raises(DataError) as caught:
        read(folder)
    assert str(caught.value) == (
        f"{folder}: pictures without their partners of equal stem; add them, take the others away, or write "
        "samples.csv:\n  s0: no background/\n  s1: no mask/\n  s1: no background/"
    )


def test_missing_folder_says_what_to_do_next(tmp_path: Path) -> None:
    root = tmp_path / "nowhere"
    with pytest.raises(DataError) as caught:
        read(root)
    assert str(caught.value) == (
        f"{root}: no such folder of data; make one by `dmx data synth {root}` or `dmx data import KIND SOURCE {root}`."
    )


def test_missing_declaration_says_what_to_do_next(folder: Path) -> None:
    (folder / "dataset.yaml").unlink()
    with pytest.raises(DataError) as caught:
        read(folder)
    assert str(caught.value) == (
        f"{folder}: has no dataset.yaml, so nothing says how depth is to be read; write one "
        f"(see docs/your_data.md), or bring foreign data into shape by `dmx data import KIND {folder} OUT`."
    )


def test_every_problem_of_the_declaration_in_one_message(folder: Path) -> None:
    (folder / "dataset.yaml").write_text(
        "depth: {kind: metric, scal: 0.001, scale: 0, range: [5, 1]}\nmask: {treshold: 3}\nnam: x\n"
    )
    with pytest.raises(ConfigError) as caught:
        read(folder)
    assert str(caught.value) == (
        f"{folder}/dataset.yaml has 6 problems:"
        "\n  name: is missing; add it"
        "\n  depth.scale: Input should be greater than 0, but got 0"
        "\n  depth.range: `low` must be below `high`, but got low=5.0, high=1.0; swap them"
        "\n  depth.scal: unknown key; did you mean 'scale'? Known: channel, form, kind, near, offset, outside, range, "
        "rotated, scale, unknown"
        "\n  mask.treshold: unknown key; did you mean 'threshold'? Known: alpha, channel, labels, threshold, unknown"
        "\n  nam: unknown key; did you mean 'name'? Known: depth, exif, license, mask, name, pictures, source"
    )


@pytest.mark.parametrize(
    ("depth", "message"),
    [
        (
            {"kind": "metric", "range": [0, 5]},
            "metric depth must start above 0 m, but `range` is [0.0, 5.0]; raise its low end",
        ),
        (
            {"kind": "relative", "range": [0, 5]},
            "relative depth must span [0, 1], but `range` is [0.0, 5.0]; choose `scale` and `offset` so",
        ),
    ],
)
def test_range_must_suit_the_kind(folder: Path, depth: dict[str, object], message: str) -> None:
    (folder / "dataset.yaml").write_text(yaml.safe_dump({"name": "x", "depth": depth}))
    with pytest.raises(ConfigError) as caught:
        read(folder)
    assert str(caught.value) == f"{folder}/dataset.yaml has 1 problem:\n  depth: {message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("depth: [", "is not readable YAML: line 1, column 9: while parsing a flow node"),
        ("name: a\nname: b\n", "is not readable YAML: line 2: key 'name' is given twice"),
        ("", "must hold a mapping of keys to values, but holds nothing."),
        ("- 1\n", "must hold a mapping of keys to values, but holds list."),
    ],
)
def test_declaration_that_is_no_mapping(folder: Path, text: str, message: str) -> None:
    (folder / "dataset.yaml").write_text(text)
    with pytest.raises(UserError, match=re.escape(f"{folder}/dataset.yaml {message}")):
        read(folder)


def test_numbers_with_an_exponent_in_a_declaration(folder: Path) -> None:
    text = "name: n\ndepth: {kind: metric, scale: 1e-3, range: [1e0, 5e0], unknown: [0e0]}\n"
    (folder / "dataset.yaml").write_text(text)
    depth = read(folder).declaration.depth
    assert depth is not None
    assert (depth.scale, depth.range, depth.unknown) == (0.001, (1.0, 5.0), (0.0,))


def test_pictures_in_the_home_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder.parent))
    (folder / "dataset.yaml").write_text((folder / "dataset.yaml").read_text() + "pictures: ~/elsewhere\n")
    assert read(folder).pictures == folder.parent / "elsewhere"
    text = (folder / "dataset.yaml").read_text().replace("~/elsewhere", "$HOME/elsewhere")
    (folder / "dataset.yaml").write_text(text)
    with pytest.raises(DataError, match=r"7 pictures are missing \(\$HOME is taken literally: variables are not f"):
        read(folder).check_files()


def test_no_sample(folder: Path) -> None:
    (folder / "samples.csv").write_text("id,group,image,mask,depth\n")
    with pytest.raises(DataError) as caught:
        read(folder)
    assert str(caught.value) == (
        f"{folder}: no sample found; list them in samples.csv (id,group,image,mask,depth[,background][,split]), or put "
        "pictures with equal stems into image/, mask/, depth/, optionally background/."
    )


def test_missing_pictures_are_named_up_to_ten(rooms: DatasetIndex, folder: Path) -> None:
    read(folder).check_files()
    (folder / "mask/s0.png").unlink()
    with pytest.raises(DataError) as caught:
        read(folder).check_files()
    assert str(caught.value) == (
        f"{folder}: 1 of 7 pictures are missing; put them there or take their rows out of samples.csv:\n  mask/s0.png"
    )
    with pytest.raises(DataError, match=r"88 of 88 pictures are missing; .*(\n  \S+){10}\n  and 78 more$"):
        DatasetIndex(folder, rooms.declaration, rooms.samples).check_files()


def test_fingerprint_changes_with_what_matters_and_not_with_the_order_of_rows(folder: Path) -> None:
    first = read(folder).fingerprint()
    path = folder / "samples.csv"
    head, *rows = path.read_text().splitlines()
    path.write_text("\n".join([head, *reversed(rows)]))
    assert read(folder).fingerprint() == first
    moved = folder.rename(folder.parent / "elsewhere")
    assert read(moved).fingerprint() == first
    seen = {first}
    (moved / "samples.csv").write_text("\n".join([head, *(row.replace(",a,", ",b,") for row in rows)]))
    seen.add(read(moved).fingerprint())
    (moved / "dataset.yaml").write_text((moved / "dataset.yaml").read_text() + "license: mine\n")
    seen.add(read(moved).fingerprint())
    with (moved / "image/s0.png").open("ab") as file:
        file.write(b"\0")
    seen.add(read(moved).fingerprint())
    assert len(seen) == 4


def test_a_pixel_changed_in_place_shows_in_the_stamp(folder: Path) -> None:
    first = read(folder)
    assert read(folder).stamp == first.stamp != first.fingerprint()
    depth = folder / "depth/s0.npy"
    np.save(depth, np.ones((6, 8), np.float32))
    (folder / "samples.csv").write_text((folder / "samples.csv").read_text().replace("depth/s0.png", "depth/s0.npy"))
    before = read(folder)
    assert before.stamp != first.stamp
    np.save(depth, np.full((6, 8), 2, np.float32))
    os.utime(depth, ns=(0, 1))  # not by chance the same tick of the clock
    assert read(folder).fingerprint() == before.fingerprint()
    assert read(folder).stamp != before.stamp


def test_a_data_set_without_depth_says_so(folder: Path) -> None:
    declaration = yaml.safe_load((folder / "dataset.yaml").read_text())
    (folder / "dataset.yaml").write_text(yaml.safe_dump({**declaration, "depth": None}))
    (folder / "samples.csv").write_text(
        "id,group,image,mask,background\ns0,a,image/s0.png,mask/s0.png,background/b.png\n"
    )
    index = read(folder)
    assert index.samples[0].depth is None
    assert "depth/s0.png" not in index.files()
    assert not read_quartet(index, index.samples[0]).valid.any()
    with pytest.raises(DataError) as caught:
        _ = index.depth
    assert str(caught.value) == (
        f"{folder}: has no depth (`depth: null` in dataset.yaml), and nothing can learn depth from it; compose it once "
        "more from scenes with depth, or with `--depth-model`."
    )


def test_pictures_may_lie_elsewhere(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "list"
    other.mkdir()
    declaration = yaml.safe_load((folder / "dataset.yaml").read_text())
    (other / "dataset.yaml").write_text(yaml.safe_dump({**declaration, "pictures": str(folder)}))
    (other / "samples.csv").write_text((folder / "samples.csv").read_text())
    index = read(other)
    index.check_files()
    assert (read_quartet(index, index.samples[0]).depth == read_quartet(read(folder), index.samples[0]).depth).all()
