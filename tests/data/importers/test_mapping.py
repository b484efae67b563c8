"""Any folder by a mapping: each form of depth and mask, patterns and manifests, and what is left out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from dmx.data.layout import DatasetIndex, read
from dmx.data.reading import read_quartet
from dmx.data.writing import Summary
from dmx.errors import ConfigError, DataError

Run = Callable[..., Summary]
Save = Callable[[Path, np.ndarray], None]
Map = Callable[..., Path]

METRES = np.linspace(0.5, 9, 24, dtype=np.float32).reshape(4, 6)
METRIC = {"kind": "metric", "range": [0.4, 10.0]}
FILES = {"image": "rgb/*.png", "mask": "mask/*.png", "depth": "depth/*.png"}


@pytest.fixture
def map_(tmp_path: Path) -> Map:
    """Write a mapping; keywords replace its keys."""

    def write(**changes: Any) -> Path:
        path = tmp_path / "set" / "mapping.yaml"
        path.parent.mkdir(exist_ok=True)
        given = {"name": "office", "files": FILES, "group": "id", "depth": {**METRIC, "scale": 0.001}, **changes}
        path.write_text(yaml.safe_dump({key: value for key, value in given.items() if value != "left out"}))
        return path

    return write


@pytest.fixture
def pictures(tmp_path: Path, save: Save) -> Path:
    """Two triplets of 6 pixels wide and 4 high, depth of 16 bits in millimetres, the mask in two values."""
    root = tmp_path / "set"
    for number, name in enumerate(("a1", "a2")):
        save(root / f"rgb/{name}.png", np.full((4, 6, 3), 50 + number, np.uint8))
        save(root / f"mask/{name}.png", np.eye(4, 6, dtype=np.uint8) * 255)
        save(root / f"depth/{name}.png", np.rint(METRES * 1000).astype(np.uint16))
    return root


def opened(tmp_path: Path) -> DatasetIndex:
    index = read(tmp_path / "out")
    index.check_files()
    return index


def depth_of(tmp_path: Path, row: int = 0) -> np.ndarray:
    """Depth in metres, NaN where it is unknown."""
    quartet = read_quartet(index := opened(tmp_path), index.samples[row])
    return np.where(quartet.valid, quartet.depth, np.nan)


@pytest.mark.parametrize("copy", [False, True])
def test_patterns(pictures: Path, tmp_path: Path, run: Run, map_: Map, copy: bool) -> None:
    (pictures / "rgb/.hidden.png").write_text("x")
    assert str(run("mapping", map_(), copy=copy)) == f"{tmp_path}/out now holds 2 samples in 2 groups"
    index = opened(tmp_path)
    assert index.pictures == (tmp_path / "out" if copy else pictures)
    assert (index.name, [record.id for record in index.samples]) == ("office", ["a1", "a2"])
    assert depth_of(tmp_path) == pytest.approx(METRES, abs=0.00051)
    quartet = read_quartet(index, index.samples[1])
    assert np.array_equal(quartet.mask, np.eye(4, 6))
    assert quartet.image[0, 0, 0] == 51
    assert quartet.background is None
    assert not copy or (tmp_path / "out/rgb/a2.png").read_bytes() == (pictures / "rgb/a2.png").read_bytes()


def test_several_stars_shared_backgrounds_and_groups(tmp_path: Path, run: Run, map_: Map, save: Save) -> None:
    for scene, level in (("s1", 10), ("s2", 20)):
        save(tmp_path / f"set/data/{scene}/empty.png", np.full((4, 6, 3), level, np.uint8))
        for frame in ("007", "008"):
            for role in ("rgb", "mask", "depth"):
                pixels = np.full((4, 6, 3) if role == "rgb" else (4, 6), 255 if role == "mask" else level, np.uint8)
                save(tmp_path / f"set/data/{scene}/{role}/{frame}.png", pixels)
    files = {role: f"*/{role}/*.png" for role in ("mask", "depth")}
    files |= {"image": "*/rgb/*.png", "background": "*/empty.png"}
    expected = {"folder": ["s1/rgb", "s2/rgb"], "([^/]+)/": ["s1", "s2"], "left out": ["s1/empty.png", "s2/empty.png"]}
    for group, groups in expected.items():
        run("mapping", map_(files=files, group=group, folder="data", depth={**METRIC, "scale": 0.1}))
        index = opened(tmp_path)
        assert [record.id for record in index.samples] == ["s1/007", "s1/008", "s2/007", "s2/008"]
        assert [record.group for record in index.samples] == [groups[0]] * 2 + [groups[1]] * 2
        for record in index.samples:
            quartet = read_quartet(index, record)
            assert quartet.background is not None
            assert quartet.background[0, 0, 0] == quartet.image[0, 0, 0] == round(quartet.depth[0, 0] * 10)
        (tmp_path / "out").rename(tmp_path / groups[0].replace("/", "-"))


def test_bits_turned_as_in_sun_rgbd(pictures: Path, tmp_path: Path, run: Run, map_: Map, save: Save) -> None:
    millimetres = np.rint(METRES * 1000).astype(np.uint16)
    millimetres[0, 0] = 0
    for name in ("a1", "a2"):  # SUNRGBDtoolbox, read3dPoints.m: depth = (raw >> 3) | (raw << 13)
        save(pictures / f"depth/{name}.png", (millimetres << 3) | (millimetres >> 13))
    run("mapping", map_(depth={**METRIC, "scale": 0.001, "rotated": 3, "unknown": [0]}))
    expected = np.where(millimetres == 0, np.nan, millimetres / 1000)
    assert depth_of(tmp_path) == pytest.approx(expected, nan_ok=True)


def test_exr(pictures: Path, tmp_path: Path, run: Run, map_: Map) -> None:
    metres = METRES.copy()
    metres[1, 2:4] = np.nan, np.inf
    for name in ("a1", "a2"):
        header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
        with OpenEXR.File(header, {"Z": metres}) as file:
            file.write(str(pictures / f"depth/{name}.exr"))
    run("mapping", map_(files={**FILES, "depth": "depth/*.exr"}, depth=METRIC))
    assert np.array_equal(depth_of(tmp_path), np.where(np.isfinite(metres), metres, np.nan), equal_nan=True)


def test_arrays_and_disparity(pictures: Path, tmp_path: Path, run: Run, map_: Map) -> None:
    disparity = 1 / (METRES * 0.02) - 0.5
    disparity[0, 0], disparity[3, 5] = np.nan, -1
    np.save(pictures / "depth/a1.npy", disparity)
    np.save(pictures / "depth/a2.npy", disparity[..., None].astype(np.float64))
    depth = {**METRIC, "form": "inverse", "scale": 0.02, "offset": 0.01, "unknown": [-1]}
    summary = run("mapping", map_(files={**FILES, "depth": "depth/*.npy"}, depth=depth))
    assert summary.samples == 2
    expected = METRES.copy()
    expected[0, 0] = expected[3, 5] = np.nan
    for row in (0, 1):
        assert depth_of(tmp_path, row) == pytest.approx(expected, nan_ok=True, rel=1e-5)


def test_8_bits_with_scale_and_offset(pictures: Path, tmp_path: Path, run: Run, map_: Map, save: Save) -> None:
    raw = np.arange(24, dtype=np.uint8).reshape(4, 6)
    for name in ("a1", "a2"):
        save(pictures / f"depth/{name}.png", raw)
    run("mapping", map_(depth={**METRIC, "scale": 0.25, "offset": 0.75, "unknown": [23]}))
    assert depth_of(tmp_path) == pytest.approx(np.where(raw == 23, np.nan, raw * 0.25 + 0.75), nan_ok=True)


def test_masks_of_labels_and_of_opacity(pictures: Path, tmp_path: Path, run: Run, map_: Map, save: Save) -> None:
    labels = np.arange(24, dtype=np.uint16).reshape(4, 6) * 100
    opacity = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
    for name in ("a1", "a2"):
        save(pictures / f"label/{name}.png", labels)
        save(pictures / f"rgba/{name}.png", np.dstack([np.full((4, 6, 3), 7, np.uint8), opacity]))
    files = {**FILES, "mask": "label/*.png"}
    run("mapping", map_(files=files, mask={"labels": [100, 2300], "unknown": 0}))
    index = opened(tmp_path)
    quartet = read_quartet(index, index.samples[0])
    assert np.array_equal(quartet.mask, (labels == 100) | (labels == 2300))
    assert np.array_equal(quartet.mask_valid, labels != 0)
    (tmp_path / "out").rename(tmp_path / "labels")
    files = {**FILES, "image": "rgba/*.png", "mask": "rgba/*.png"}  # one picture in two roles
    run("mapping", map_(files=files, mask={"alpha": True, "threshold": 100}))
    index = opened(tmp_path)
    assert np.array_equal(read_quartet(index, index.samples[0]).mask, opacity > 100)


def test_without_depth(pictures: Path, tmp_path: Path, run: Run, map_: Map) -> None:
    run("mapping", map_(files={"image": "rgb/*.png", "mask": "mask/*.png"}, depth=None))
    index = opened(tmp_path)
    assert [record.depth for record in index.samples] == [None, None]
    assert not read_quartet(index, index.samples[0]).valid.any()


def test_what_is_not_whole_is_left_out_and_named(pictures: Path, run: Run, map_: Map, save: Save) -> None:
    for name in ("a3", "a4", "b5", "a6"):
        for role in ("rgb", "mask", "depth"):
            (pictures / f"{role}/{name}.png").write_bytes((pictures / f"{role}/a1.png").read_bytes())
    (pictures / "rgb/a3.png").unlink()
    (pictures / "rgb/a4.png").write_bytes(b"\x93NUMPY")
    save(pictures / "depth/a6.png", np.zeros((6, 4), np.uint8))
    (pictures / "rgb/notes.txt").write_text("x")
    assert str(run("mapping", map_(group=r"(a)\d"))).endswith(
        "2 samples in 1 groups; left out: 1 that no pattern matches (rgb/notes.txt), 1 with a picture that cannot be "
        "read (rgb/a4.png), 1 with pictures of different sizes (rgb/a6.png), 1 without a group (rgb/b5.png), 1 without "
        "image (mask/a3.png)"
    )


def table() -> dict[str, list[str | int | None]]:
    return {
        "frame": [7, 8],
        "colour": ["rgb/a1.png", "rgb/a2.png"],
        "seg": ["mask/a1.png", "mask/a2.png"],
        "z": ["depth/a1.png", "depth/a2.png"],
        "scene": ["x", "y"],
        "part": ["train", "test"],
    }


COLUMNS = {"id": "frame", "image": "colour", "mask": "seg", "depth": "z", "group": "scene", "split": "part"}
BY_TABLE = {"files": "left out", "group": "left out", "columns": COLUMNS}


def write_csv(path: Path, columns: dict[str, list[str | int | None]]) -> None:
    rows = [list(columns), *zip(*columns.values(), strict=True)]
    path.write_text("".join(",".join("" if cell is None else str(cell) for cell in row) + "\n" for row in rows))


@pytest.mark.parametrize("name", ["list.csv", "list.parquet"])
def test_manifest(pictures: Path, tmp_path: Path, run: Run, map_: Map, name: str) -> None:
    if name == "list.csv":
        write_csv(pictures / name, table())
    else:
        pq.write_table(pa.table(table()), pictures / name)
    assert run("mapping", map_(manifest=name, **BY_TABLE)).samples == 2
    index = opened(tmp_path)
    assert [(r.id, r.group, r.split) for r in index.samples] == [("7", "x", "train"), ("8", "y", "test")]
    assert depth_of(tmp_path, 1) == pytest.approx(METRES, abs=0.00051)


def test_manifest_without_names_and_with_gaps(pictures: Path, tmp_path: Path, run: Run, map_: Map) -> None:
    columns = table()
    columns["seg"][1] = None
    for column, values in columns.items():
        values += {"colour": ["rgb/a2.png"], "seg": ["mask/none.png"], "z": ["depth/a2.png"]}.get(column, [None])
    pq.write_table(pa.table(columns), pictures / "list.parquet")
    given = {role: COLUMNS[role] for role in ("image", "mask", "depth")}
    mapping = map_(manifest="list.parquet", files="left out", columns=given, group="folder")
    assert str(run("mapping", mapping)).endswith(
        "1 samples in 1 groups; left out: 1 with a picture that is not there (rgb/a2.png), 1 without mask (rgb/a2.png)"
    )
    assert [(r.id, r.group) for r in opened(tmp_path).samples] == [("rgb/a1", "rgb")]


def test_one_name_twice(pictures: Path, run: Run, map_: Map) -> None:
    write_csv(pictures / "list.csv", {**table(), "frame": ["7", "7"]})
    assert str(run("mapping", map_(manifest="list.csv", **BY_TABLE))).endswith(
        "1 samples in 1 groups; left out: 1 with the name of another (rgb/a2.png)"
    )


@pytest.mark.parametrize("path", ["/etc/passwd", "../../secret.png", "rgb/../../x.png", ".."])
def test_manifest_that_leaves_the_folder(pictures: Path, tmp_path: Path, run: Run, map_: Map, path: str) -> None:
    write_csv(pictures / "list.csv", {**table(), "seg": ["mask/a1.png", path]})
    with pytest.raises(DataError) as caught:
        run("mapping", map_(manifest="list.csv", **BY_TABLE))
    assert str(caught.value) == (
        f"{pictures}/list.csv: 1 paths of the mask leave the folder, the first is '{path}'; paths are relative to "
        "`folder` of the mapping."
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("parts", "odd"), [(["train", "dev"], "dev"), (["train", None], "")])
def test_manifest_with_another_split(
    pictures: Path, run: Run, map_: Map, parts: list[str | int | None], odd: str
) -> None:
    write_csv(pictures / "list.csv", {**table(), "part": parts})
    with pytest.raises(DataError) as caught:
        run("mapping", map_(manifest="list.csv", **BY_TABLE))
    assert str(caught.value) == (
        f"{pictures}/list.csv: column 'part' holds '{odd}' where each row must say train, val or test, or none does."
    )


def test_manifest_without_the_columns(pictures: Path, run: Run, map_: Map) -> None:
    (pictures / "list.csv").write_text("frame,colours,seg,z,scene,scene\n1,2,3,4,5,6\n")
    with pytest.raises(ConfigError) as caught:
        run("mapping", map_(manifest="list.csv", **BY_TABLE))
    mapping = pictures / "mapping.yaml"
    known = "Known: colours, frame, scene, scene, seg, z"
    assert str(caught.value) == (
        f"{mapping} has 3 problems:\n"
        f"  columns.image: no column 'colour' in {pictures}/list.csv; did you mean 'colours'? {known}\n"
        f"  columns.group: 2 columns 'scene' in {pictures}/list.csv; did you mean 'scene'? {known}\n"
        f"  columns.split: no column 'part' in {pictures}/list.csv; {known}"
    )


@pytest.mark.parametrize("name", ["none.csv", "none.parquet", "empty.csv", "text.parquet"])
def test_manifest_that_is_none(pictures: Path, run: Run, map_: Map, name: str) -> None:
    if not name.startswith("none"):
        (pictures / name).write_text("")
    with pytest.raises(DataError, match=rf"{name}: cannot be read as a table \(.*\); give a .csv in UTF-8 or a .parqu"):
        run("mapping", map_(manifest=name, **BY_TABLE))


def test_manifest_with_another_type(pictures: Path, run: Run, map_: Map) -> None:
    pq.write_table(pa.table({**table(), "seg": [["a"], ["b"]]}), pictures / "list.parquet")
    with pytest.raises(
        DataError, match=r"list.parquet: column 'seg' cannot be read as text \(.*\); give paths and nam"
    ):
        run("mapping", map_(manifest="list.parquet", **BY_TABLE))


def test_nothing_found(pictures: Path, tmp_path: Path, run: Run, map_: Map) -> None:
    with pytest.raises(DataError) as caught:
        run("mapping", map_(folder="elsewhere"))
    path = pictures / "mapping.yaml"
    assert str(caught.value) == (
        f"{path}: maps nothing in {pictures}/elsewhere (it holds no whole sample: no picture was found); mend `folder` "
        "and `files` or `columns`."
    )
    assert not (tmp_path / "out").exists()
