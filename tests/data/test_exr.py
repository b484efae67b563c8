"""The channel that is meant is read from an OpenEXR picture, never the first one; else it is asked for."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
import yaml

from dmx.data.decoding import plane
from dmx.data.layout import read
from dmx.data.reading import read_quartet
from dmx.datatools.check import check
from dmx.datatools.importers.tree import picture_size
from dmx.errors import DataError

DEPTH = np.random.default_rng(0).uniform(1, 5, (6, 8)).astype(np.float32)
OTHER = np.ones((6, 8), np.float32)


def write(path: Path, names: Sequence[str], depth: str, dtype: str = "f4", **header: object) -> Path:
    """A picture whose channel `depth` is the depth, and whose others are 1 everywhere."""
    channels = {name: (DEPTH if name == depth else OTHER).astype(dtype) for name in names}
    settings = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **header}
    OpenEXR.File(settings, channels).write(str(path))
    return path


RGBA = ("R", "G", "B", "A")
COMBINED = tuple(f"View.Combined.{name}" for name in "RGBA")
VECTORS = ("View.Normal.X", "View.Normal.Y", "View.Normal.Z", "View.Mist.Z", "View.Vector.Z")


@pytest.mark.parametrize(
    ("names", "depth"),
    [
        (("Z",), "Z"),
        (("Z", *RGBA), "Z"),
        (("A", "Z"), "Z"),
        (("depth", *RGBA), "depth"),
        (("Depth.V", *RGBA), "Depth.V"),
        (("ViewLayer.Depth.Z", *COMBINED), "ViewLayer.Depth.Z"),
        (("View.Depth.Z", *COMBINED, *VECTORS), "View.Depth.Z"),
        (("View.Z", *COMBINED), "View.Z"),
        (("distance", "A"), "distance"),
        (("A", "aaa", "Layer.DISTANCE"), "Layer.DISTANCE"),
        (("whatever",), "whatever"),
        (("Y",), "Y"),
        (("A", "V"), "V"),
        (("View.Depth.X",), "View.Depth.X"),
        (("View.Custom.X",), "View.Custom.X"),
        (("N.X", "N.Y", "N.Z", "PWorld.X", "Z", "depth.A"), "Z"),
    ],
)
@pytest.mark.parametrize("dtype", ["f4", "f2", "u4"])
def test_depth_is_known_by_its_name(tmp_path: Path, names: tuple[str, ...], depth: str, dtype: str) -> None:
    found = plane(write(tmp_path / "a.exr", names, depth, dtype), "depth").pixels
    np.testing.assert_array_equal(found, DEPTH.astype(dtype))


@pytest.mark.parametrize(
    "names",
    [COMBINED, ("left.Z", "right.Z"), ("Y", "RY", "BY"), ("b", "c"), VECTORS, ("Depth.Z", "Distance.Z"), ("U", "V")],
)
def test_what_is_not_plain_is_asked_for_and_answered(tmp_path: Path, names: tuple[str, ...]) -> None:
    names = names if names != COMBINED else (*COMBINED, "View.AO.R")
    path = write(tmp_path / "a.exr", names, names[0])
    with pytest.raises(DataError) as caught:
        plane(path, "depth")
    assert str(caught.value) == (
        f"{path}: has several channels, and none is plainly meant (there are {', '.join(sorted(names))}); name the one "
        "to read as `depth.channel` in dataset.yaml."
    )
    np.testing.assert_array_equal(plane(path, "depth", channel=names[0]).pixels, DEPTH)
    with pytest.raises(
        DataError, match=r"has no channel depht \(there are .*\); name the one to read as `mask.channel`"
    ):
        plane(path, "mask", channel="depht")


@pytest.mark.parametrize(
    "names",
    [
        *(("A",), ("depth.A",), ("ViewLayer.Mist.Z",), ("Normal.Z",), ("ViewLayer.IndexOB.X",), ("AO.V",)),
        *(("N.X", "N.Z"), ("Foo.Y", "Foo.Z"), ("PWorld.X", "PWorld.Z", "R", "G", "B"), ("depth.A", "R", "G", "B")),
        *(("Mist.Z", "R", "G", "B"), ("A", "Mist.V")),
    ],
)
def test_what_is_called_as_something_else_is_no_depth(tmp_path: Path, names: tuple[str, ...]) -> None:
    path = write(tmp_path / "a.exr", names, "")  # grey, so that nothing but the names tells
    many = "several channels" if len(names) > 1 else "one channel"
    with pytest.raises(DataError) as caught:
        plane(path, "depth")
    assert str(caught.value) == (
        f"{path}: has {many}, and none is plainly meant (there are {', '.join(sorted(names))}); name the one to read "
        "as `depth.channel` in dataset.yaml."
    )
    assert (plane(path, "depth", channel=names[0]).pixels == 1).all()


def test_colours_of_one_layer_are_one_value_where_they_are_equal(tmp_path: Path) -> None:
    channels = {name: DEPTH.copy() for name in COMBINED[:3]} | {COMBINED[3]: OTHER}
    OpenEXR.File({"type": OpenEXR.scanlineimage}, channels).write(str(tmp_path / "a.exr"))
    np.testing.assert_array_equal(plane(tmp_path / "a.exr", "depth").pixels, DEPTH)
    np.testing.assert_array_equal(plane(tmp_path / "a.exr", "mask").pixels, DEPTH)
    np.testing.assert_array_equal(plane(tmp_path / "a.exr", "mask", alpha=True).pixels, OTHER)
    path = write(tmp_path / "a.exr", RGBA, "R")
    with pytest.raises(DataError, match="has colours where one value per pixel is needed"):
        plane(path, "depth")


def test_every_part_is_looked_through(tmp_path: Path) -> None:
    kind = {"type": OpenEXR.scanlineimage}
    parts = [
        OpenEXR.Part({**kind, "name": "beauty"}, {name: OTHER.copy() for name in "RGBA"}),
        OpenEXR.Part({**kind, "name": "depth"}, {"Z": DEPTH}),
    ]
    OpenEXR.File(parts).write(str(tmp_path / "a.exr"))
    np.testing.assert_array_equal(plane(tmp_path / "a.exr", "depth").pixels, DEPTH)
    assert (plane(tmp_path / "a.exr", "mask", channel="beauty.A").pixels == 1).all()
    with pytest.raises(DataError, match=r"\(there are beauty.A, beauty.B, beauty.G, beauty.R, depth.Z\)"):
        plane(tmp_path / "a.exr", "mask")


def test_tiles_are_read_and_deep_data_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.exr", ("Z", "A"), "Z", type=OpenEXR.tiledimage, tiles=OpenEXR.TileDescription())
    np.testing.assert_array_equal(plane(path, "depth").pixels, DEPTH)
    deep = np.empty((6, 8), object)
    deep.ravel()[:] = [np.ones(2, np.float32)] * 48
    header = {"type": OpenEXR.deepscanline, "compression": OpenEXR.ZIPS_COMPRESSION}
    OpenEXR.File(header, {"Z": deep}).write(str(path))
    with pytest.raises(DataError, match=r"a\.exr: holds deep data, several values for each pixel; flatten it"):
        plane(path, "depth")


def corners(left: int, top: int, right: int, bottom: int) -> tuple[np.ndarray, np.ndarray]:
    return np.array([left, top], np.int32), np.array([right, bottom], np.int32)


@pytest.mark.parametrize(("left", "top"), [(3, 2), (-2, -1), (8, -3), (-9, 0), (0, 0)])
@pytest.mark.parametrize("dtype", ["f4", "u4"])
def test_a_data_window_is_placed_in_the_display_window(tmp_path: Path, left: int, top: int, dtype: str) -> None:
    stored = corners(left + 5, top + 7, left + 5 + 7, top + 7 + 5)
    path = write(tmp_path / "a.exr", ("Z",), "Z", dtype, dataWindow=stored, displayWindow=corners(5, 7, 5 + 9, 7 + 6))
    expected = np.full((7, 10), np.nan)
    for y, x in np.ndindex(6, 8):
        if 0 <= y + top < 7 and 0 <= x + left < 10:
            expected[y + top, x + left] = DEPTH.astype(dtype)[y, x]
    np.testing.assert_array_equal(plane(path, "depth").pixels, expected)
    np.testing.assert_array_equal(plane(path, "mask").pixels, np.nan_to_num(expected))
    with path.open("rb") as file:
        assert picture_size(file) == (7, 10)


@pytest.mark.parametrize("window", [(0, 0, 59_999, 59_999), (0, 0, 2**30, 2**30), (-(2**31), 0, 2**31 - 1, 5)])
def test_a_window_that_nobody_can_hold_is_refused(tmp_path: Path, window: tuple[int, int, int, int]) -> None:
    path = write(tmp_path / "a.exr", ("Z",), "Z")
    data = bytearray(path.read_bytes())
    for name in (b"dataWindow\0", b"displayWindow\0"):
        at = data.index(name) + len(name) + len(b"box2i\0") + 4
        data[at : at + 16] = b"".join(one.to_bytes(4, "little", signed=True) for one in window)
    path.write_bytes(data)
    with pytest.raises(
        DataError, match=r"a\.exr: (has \d+x\d+ pixels or more, more than are read|is truncated or dam)"
    ):
        plane(path, "depth")


def test_a_data_set_of_layered_pictures_is_read_and_checked(folder: Path) -> None:
    declared = yaml.safe_load((folder / "dataset.yaml").read_text())
    declared["depth"] |= {"scale": 1.0}
    for name in ("s0", "s1"):
        write(folder / f"depth/{name}.exr", (*COMBINED, "View.Far", "View.Near"), "View.Near")
    (folder / "samples.csv").write_text(
        (folder / "samples.csv").read_text().replace(".png,background", ".exr,background")
    )
    (folder / "dataset.yaml").write_text(yaml.safe_dump(declared))
    assert [(one.kind, one.role) for one in check(read(folder), workers=1).findings][:2] == [
        ("unreadable", "depth")
    ] * 2
    declared["depth"]["channel"] = "View.Near"
    (folder / "dataset.yaml").write_text(yaml.safe_dump(declared))
    index = read(folder)
    np.testing.assert_array_equal(read_quartet(index, index.samples[0]).depth, DEPTH)
    assert not [one for one in check(index, workers=1).findings if one.role == "depth" and one.severity == "error"]
