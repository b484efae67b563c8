"""Any folder by a mapping: each form of depth and mask, and what is left out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import OpenEXR
import pytest

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


def test_nothing_found(pictures: Path, tmp_path: Path, run: Run, map_: Map) -> None:
    (pictures / "elsewhere").mkdir()
    with pytest.raises(DataError) as caught:
        run("mapping", map_(folder="elsewhere"))
    path = pictures / "mapping.yaml"
    assert str(caught.value) == (
        f"{path}: maps nothing in {pictures}/elsewhere (it holds no whole sample: no picture was found); mend `folder` "
        "and `files` or `columns`."
    )
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_there_is_said_to_be_missing(pictures: Path, run: Run, map_: Map) -> None:
    with pytest.raises(ConfigError) as caught:
        run("mapping", map_(folder="labb"))
    assert str(caught.value) == (
        f"{pictures}/mapping.yaml has 1 problem:\n  folder: no such folder {pictures}/labb; mend the path"
    )
