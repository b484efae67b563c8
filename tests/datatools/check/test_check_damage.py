"""Fifty samples damaged in ten ways are found, each as what it is, and nothing else is."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from dmx.data.layout import read
from dmx.datatools.check import KINDS, Report, check
from dmx.datatools.importers.eva4 import eva4
from dmx.datatools.sheet import worst
from dmx.datatools.synth import synth

Row = dict[str, str]
Damage = Callable[[Path, Row, list[Row]], None]


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 quartets of 64x64 in 30 rooms."""
    out = tmp_path_factory.mktemp("check") / "sound"
    synth(out, count=120, size=64, seed=7, workers=1)
    return out


def pixels(path: Path) -> np.ndarray:
    found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert found is not None
    return found


def save(path: Path, picture: np.ndarray) -> None:
    assert cv2.imwrite(str(path), picture)


def missing(root: Path, row: Row, rows: list[Row]) -> None:
    (root / row["depth"]).unlink()


def truncated(root: Path, row: Row, rows: list[Row]) -> None:
    data = (root / row["image"]).read_bytes()
    (root / row["image"]).write_bytes(data[: len(data) // 2])


def garbage(root: Path, row: Row, rows: list[Row]) -> None:
    (root / row["mask"]).write_bytes(b"" if int(row["id"]) // 20 % 2 else b"<html>404</html>")


def resized(root: Path, row: Row, rows: list[Row]) -> None:
    save(root / row["image"], cv2.resize(pixels(root / row["image"]), (48, 64)))


def grey_mask(root: Path, row: Row, rows: list[Row]) -> None:
    save(root / row["mask"], cv2.GaussianBlur(pixels(root / row["mask"]), (5, 5), 0))


def empty_mask(root: Path, row: Row, rows: list[Row]) -> None:
    save(root / row["mask"], 0 * pixels(root / row["mask"]))


def unknown_depth(root: Path, row: Row, rows: list[Row]) -> None:
    save(root / row["depth"], 0 * pixels(root / row["depth"]))


def far_depth(root: Path, row: Row, rows: list[Row]) -> None:
    depth = pixels(root / row["depth"])
    depth[5, 5] = 12_500
    save(root / row["depth"], depth)


def other_scene(root: Path, row: Row, rows: list[Row]) -> None:
    place = rows.index(row)
    row["background"] = rows[(place + 40) % len(rows)]["background"]


def copied(root: Path, row: Row, rows: list[Row]) -> None:
    """The sample becomes a copy of its neighbour of the same room, under its own id."""
    for role in ("image", "mask", "depth"):
        original = rows[rows.index(row) - 1][role]
        shutil.copyfile(root / original, root / row[role])


WAYS: dict[str, tuple[Damage, set[str]]] = {
    "missing": (missing, {"missing"}),
    "truncated": (truncated, {"truncated"}),
    "garbage": (garbage, {"empty-file", "foreign"}),
    "resized": (resized, {"size-differs"}),
    "grey mask": (grey_mask, {"mask-not-binary"}),
    "empty mask": (empty_mask, {"mask-empty"}),
    "unknown depth": (unknown_depth, {"depth-unknown"}),
    "far depth": (far_depth, {"depth-range"}),
    "other scene": (other_scene, {"background-differs", "leak"}),
    "copied": (copied, {"duplicate"}),
}


def damage(sound: Path, root: Path, ways: dict[str, Damage], each: int) -> dict[str, str]:
    """A copy in which samples are damaged; which way each was. A sample beside each of them stays whole."""
    shutil.copytree(sound, root)
    with (root / "samples.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    spoilt: dict[str, str] = {}
    for number in range(each * len(ways)):
        name = list(ways)[number % len(ways)]
        row = rows[2 * number + 1]
        ways[name](root, row, rows)
        spoilt[row["id"]] = name
    with (root / "samples.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return spoilt


def kinds(report: Report, sample: str) -> set[str]:
    return {one.kind for one in report.findings if one.sample == sample}


def test_a_sound_set_has_no_finding(sound: Path) -> None:
    assert check(read(sound), workers=1).findings == ()


def test_fifty_samples_damaged_in_ten_ways(sound: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    spoilt = damage(sound, tmp_path / "bad", {name: how for name, (how, _) in WAYS.items()}, each=5)
    assert len(spoilt) == 50
    report = check(read(tmp_path / "bad"), workers=1)
    assert {one.sample for one in report.findings} == set(spoilt)
    for sample, way in spoilt.items():
        assert kinds(report, sample) <= WAYS[way][1], (sample, way)
    assert {one.kind for one in report.findings} == {kind for _, expected in WAYS.values() for kind in expected}
    assert all("background-differs" in kinds(report, one) for one, way in spoilt.items() if way == "other scene")
    assert capfd.readouterr().err == ""  # the decoders' own complaints would tear the progress bar


def test_processes_find_the_same(sound: Path, tmp_path: Path) -> None:
    damage(sound, tmp_path / "bad", {name: how for name, (how, _) in WAYS.items()}, each=1)
    index = read(tmp_path / "bad")
    told: list[tuple[int, int]] = []
    assert check(index, workers=2, progress=lambda *n: told.append(n)) == check(index, workers=1)
    assert told == [(64, 120), (120, 120)]


def flipped_mask(root: Path, row: Row, rows: list[Row]) -> None:
    """Flipped about that axis which takes the object farther from its place."""
    mask = pixels(root / row["mask"])
    save(root / row["mask"], min((mask[:, ::-1], mask[::-1]), key=lambda one: (one & mask).sum()))


def shifted_mask(root: Path, row: Row, rows: list[Row]) -> None:
    mask = pixels(root / row["mask"])
    columns = np.flatnonzero(mask.any(axis=0))
    save(root / row["mask"], np.roll(mask, columns[-1] - columns[0] + 3, axis=1))


def flipped_image(root: Path, row: Row, rows: list[Row]) -> None:
    save(root / row["image"], pixels(root / row["image"])[:, ::-1])


def damaged_png(root: Path, row: Row, rows: list[Row]) -> None:
    data = bytearray((root / row["depth"]).read_bytes())
    data[len(data) // 2] ^= 1
    (root / row["depth"]).write_bytes(bytes(data))


def full_mask(root: Path, row: Row, rows: list[Row]) -> None:
    save(root / row["mask"], np.full((64, 64), 255, np.uint8))


def test_more_ways(sound: Path, tmp_path: Path) -> None:
    ways: dict[str, Damage] = {
        "mask-misplaced": flipped_mask,
        "mask-misplaced ": shifted_mask,
        "background-differs mask-misplaced": flipped_image,
        "damaged": damaged_png,
        "mask-full": full_mask,
    }
    spoilt = damage(sound, tmp_path / "bad", ways, each=6)
    report = check(read(tmp_path / "bad"), workers=1)
    assert {one.sample for one in report.findings} == set(spoilt)
    for sample, way in spoilt.items():
        assert kinds(report, sample) <= set(way.split()), (sample, way)


def test_a_background_that_is_missing_is_told_once(sound: Path, tmp_path: Path) -> None:
    shutil.copytree(sound, tmp_path / "bad")
    (tmp_path / "bad/background/room00002.png").unlink()
    (found,) = check(read(tmp_path / "bad"), workers=1).findings
    assert (found.sample, found.kind, found.affected) == ("000008", "missing", 4)
    assert found.text == "cannot be read (No such file or directory); put the picture there or leave it out."


def test_the_report_as_json_and_as_a_picture(sound: Path, tmp_path: Path) -> None:
    spoilt = damage(sound, tmp_path / "bad", {name: how for name, (how, _) in WAYS.items()}, each=2)
    index = read(tmp_path / "bad")
    report = check(index, workers=1)
    report.write_json(tmp_path / "report.json")
    stored = json.loads((tmp_path / "report.json").read_text())
    assert stored["samples"] == 120
    assert stored["errors"] == len(stored["findings"]) >= len(spoilt)
    assert list(stored["kinds"]) == list(KINDS)
    assert stored["kinds"]["missing"] == {"severity": "error", "meaning": "a picture is not there", "count": 2}
    assert stored["findings"][0] == {
        "sample": "000001",
        "role": "depth",
        "file": "depth/000001.png",
        "kind": "missing",
        "text": "cannot be read (No such file or directory); put the picture there or leave it out.",
        "weight": 0.0,
        "affected": 1,
        "figures": {},
        "severity": "error",
    }
    few, many = worst(index, report, count=3), worst(index, report, count=10)
    assert few.shape[0] * 10 == many.shape[0] * 3
    assert few.shape[1] == many.shape[1]


@pytest.mark.realdata
@pytest.mark.parametrize(("name", "count"), [("eva4_a", 12), ("eva4_b", 10)])
def test_real_quartets_are_sound(real_data: Path, tmp_path: Path, name: str, count: int) -> None:
    eva4(real_data / name, tmp_path / "set")
    report = check(read(tmp_path / "set"), workers=1)
    assert (report.samples, report.findings) == (count, ())


@pytest.mark.realdata
def test_real_quartets_damaged(real_data: Path, tmp_path: Path) -> None:
    eva4(real_data / "eva4_a", tmp_path / "set", copy=True)
    index = read(tmp_path / "set")
    paths = {one.id: one for one in index.samples}
    names = list(paths)
    root = tmp_path / "set"
    shutil.copyfile(root / paths[names[0]].image, root / paths[names[1]].image)
    data = bytearray((root / paths[names[3]].image).read_bytes())
    data[len(data) // 2 : len(data) // 2 + 1024] = np.random.default_rng(0).bytes(1024)
    (root / paths[names[3]].image).write_bytes(bytes(data))
    shutil.copyfile(root / paths[names[0]].mask, root / paths[names[5]].mask)
    background = root / str(paths[names[7]].background)
    save(background, pixels(background)[:, ::-1])
    depth = root / str(paths[names[9]].depth)
    depth.write_bytes(depth.read_bytes()[: depth.stat().st_size // 2])
    found = check(index, workers=1)
    assert {one.sample for one in found.findings} == set(names[1:11:2])
    assert (kinds(found, names[3]), kinds(found, names[9])) == ({"damaged"}, {"truncated"})
    assert kinds(found, names[5]) | kinds(found, names[7]) <= {"mask-misplaced", "background-differs"}
