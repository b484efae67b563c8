"""From files to quartets; every way to spoil one is answered by one clear message."""

from pathlib import Path

import cv2
import numpy as np
import OpenEXR
import pytest
import yaml
from PIL import Image

from dmx.data import reading
from dmx.data.declaration import DepthDeclaration, MaskDeclaration
from dmx.data.decoding import colour, plane
from dmx.data.layout import read
from dmx.data.reading import read_quartet, to_depth, to_mask
from dmx.data.resize import resize_plane
from dmx.errors import DataError
from dmx.quartet import Quartet


def first(folder: Path) -> Quartet:
    index = read(folder)
    return read_quartet(index, index.samples[0])


def declare(folder: Path, section: str, **values: object) -> None:
    path = folder / "dataset.yaml"
    declared = yaml.safe_load(path.read_text())
    declared.setdefault(section, {}).update(values)
    path.write_text(yaml.safe_dump(declared))


def save(path: Path, pixels: np.ndarray) -> None:
    assert cv2.imwrite(str(path), pixels)


def message(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        first(folder)
    return str(caught.value)


def test_values_and_units(folder: Path) -> None:
    found = first(folder)
    assert (found.id, found.group) == ("s0", "a")
    assert found.image.shape == (6, 8, 3)
    assert (found.image == (255, 10, 0)).all()  # red first
    assert found.background is not None
    assert (found.background == (0, 10, 255)).all()
    assert found.mask.sum() == 6
    assert found.mask[2, 3] == 1
    assert found.mask_valid.all()
    assert not found.valid[0].any()
    assert found.valid[1:].all()
    assert (found.depth[1:] == np.float32(2.5)).all()


def test_offset_scale_and_8_bit_depth(folder: Path) -> None:
    declare(folder, "depth", scale=0.01, offset=1.0, unknown=[])
    save(folder / "depth/s0.png", np.full((6, 8), 150, np.uint8))
    assert (first(folder).depth == np.float32(2.5)).all()


def test_three_equal_channels_are_one(folder: Path) -> None:
    grey = np.full((6, 8), 3000, np.uint16)
    save(folder / "depth/s0.png", np.dstack([grey] * 3))
    assert (first(folder).depth == np.float32(3)).all()


def test_three_equal_channels_may_hold_nan(tmp_path: Path) -> None:
    values = np.array([[1.5, np.nan], [np.inf, 2.5]], np.float32)
    np.save(tmp_path / "equal.npy", np.dstack([values] * 3))
    np.testing.assert_array_equal(plane(tmp_path / "equal.npy", "depth").pixels, values)
    channels = {"R": values, "G": values.copy(), "B": values.copy()}
    OpenEXR.File({"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}, channels).write(
        str(tmp_path / "equal.exr")
    )
    np.testing.assert_array_equal(plane(tmp_path / "equal.exr", "depth").pixels, values)
    np.save(tmp_path / "other.npy", np.dstack([values, values, np.nan_to_num(values)]))
    with pytest.raises(
        DataError, match=r"other.npy: has colours where one value per pixel is needed; where they hold one"
    ):
        plane(tmp_path / "other.npy", "depth")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kinds", [("f4",), ("f8",), ("f4", "f8"), ("f2",)])
def test_unknown_depth_is_known_by_its_value_in_whatever_it_is_stored(kinds: tuple[str, ...]) -> None:
    raw = np.array([0.1, -9999, 1, 2])
    for kind in kinds:
        raw = raw.astype(kind)
    declared = DepthDeclaration(kind="metric", range=(0.05, 5), unknown=(0.1, -9999, 1e300))
    assert to_depth(raw, declared)[1].tolist() == [False, False, True, True]


@pytest.mark.parametrize("kind", [">f4", ">u2", "<f8"])
def test_numbers_come_in_the_order_of_bytes_that_opencv_reads(tmp_path: Path, kind: str) -> None:
    values = np.arange(1, 49).reshape(6, 8)
    np.save(tmp_path / "depth.npy", values.astype(kind))
    found = plane(tmp_path / "depth.npy", "depth").pixels
    assert found.dtype.isnative
    np.testing.assert_array_equal(resize_plane(found, (2, 4)), values[1::3, 1::2])


def test_threshold_and_unknown_of_the_mask(folder: Path) -> None:
    raw = np.array([[0, 127, 128, 255, 77, 200, 3, 126]] * 6, np.uint8)
    save(folder / "mask/s0.png", raw)
    declare(folder, "mask", threshold=127, unknown=77)
    found = first(folder)
    assert found.mask[0].tolist() == [0, 0, 1, 1, 0, 1, 0, 0]
    assert found.mask_valid[0].tolist() == [True] * 4 + [False] + [True] * 3


@pytest.mark.parametrize("palette", [(0, 80, 160, 255), (0, 0x800000, 0x8000, 0x808000)])
@pytest.mark.parametrize("bits", [2, 8])
def test_labels_are_the_indices_of_a_palette_not_its_colours(folder: Path, palette: tuple[int, ...], bits: int) -> None:
    classes = np.random.default_rng(0).integers(0, 4, (6, 8), np.uint8)
    picture = Image.fromarray(classes).convert("P")
    colours = [(one, one, one) if max(palette) < 256 else tuple(one.to_bytes(3)) for one in palette]
    picture.putdata(classes.ravel().tolist())
    picture.putpalette([value for colour in colours for value in colour])
    picture.save(folder / "mask/s0.png", bits=bits)
    declare(folder, "mask", labels=[1, 3], unknown=2)
    found = first(folder)
    np.testing.assert_array_equal(found.mask, np.isin(classes, [1, 3]))
    np.testing.assert_array_equal(found.mask_valid, classes != 2)
    data = (folder / "mask/s0.png").read_bytes()
    (folder / "mask/s0.png").write_bytes(data[: len(data) * 2 // 3])
    assert "mask/s0.png: is truncated or damaged" in message(folder)


def test_colours_of_a_palette_are_what_counts_without_labels(folder: Path) -> None:
    picture = Image.fromarray(np.eye(6, 8, dtype=np.uint8)).convert("P")
    picture.putpalette([0, 0, 0, 200, 200, 200])
    picture.save(folder / "mask/s0.png")
    declare(folder, "mask", threshold=127)
    np.testing.assert_array_equal(first(folder).mask, np.eye(6, 8))


def test_shared_background_is_decoded_once_and_anew_when_its_file_changes(folder: Path) -> None:
    index = read(folder)
    one, other = (read_quartet(index, record).background for record in index.samples)
    assert one is not None
    assert one is other
    with pytest.raises(ValueError, match="read-only"):
        one[0, 0] = 0
    save(folder / "background/b.png", np.zeros((6, 8, 3), np.uint8))
    assert (first(folder).background == 0).all()


def test_kept_backgrounds_stay_within_their_bound(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "KEPT_BYTES", 200)  # one of 6 * 8 * 3 bytes fits, two do not
    (folder / "samples.csv").write_text((folder / "samples.csv").read_text().replace("b.png\ns0", "c.png\ns0"))
    save(folder / "background/c.png", np.zeros((6, 8, 3), np.uint8))
    index = read(folder)
    for record in index.samples:
        read_quartet(index, record)
        assert sum(one.pixels.nbytes for one in reading._kept.values()) <= 200


def test_shapes_that_differ(folder: Path) -> None:
    save(folder / "depth/s0.png", np.full((6, 7), 2000, np.uint16))
    assert message(folder) == (
        f"{folder}: the pictures of sample 's0' differ in size (width x height: image 8x6, mask 8x6, depth 7x6, "
        "background 8x6); bring them to one size or take the sample out of samples.csv."
    )


def test_mask_that_is_not_binary(folder: Path) -> None:
    save(folder / "mask/s0.png", np.arange(48, dtype=np.uint8).reshape(6, 8))
    assert message(folder) == (
        f"{folder}/mask/s0.png: is not a binary mask: it has 48 values (0, 1, 2, 3, 4, 5, ...) where 0 and one above "
        "it are expected; declare `mask.threshold` (127 suits 8-bit pictures), `mask.labels` or `mask.unknown` in "
        "dataset.yaml."
    )


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["f2", "f4", "f8"])
def test_a_mask_is_unknown_where_it_is_not_finite(folder: Path, kind: str) -> None:
    raw = np.array([[1, 0, np.nan, np.inf, -np.inf, 1, 0, 0]] * 6, kind)
    (folder / "mask/s0.png").unlink()
    np.save(folder / "mask/s0.npy", raw)
    (folder / "samples.csv").write_text((folder / "samples.csv").read_text().replace("mask/s0.png", "mask/s0.npy"))
    for declared in ({}, {"threshold": 0}, {"threshold": None, "labels": [1]}, {"labels": [1], "unknown": 65535}):
        declare(folder, "mask", **declared)
        found = first(folder)
        assert found.mask[0].tolist() == [1, 0, 0, 0, 0, 1, 0, 0]
        assert found.mask_valid[0].tolist() == [True, True, False, False, False, True, True, True]


@pytest.mark.parametrize("kind", ["f4", "i1", "i4"])
def test_a_negative_mask_is_declared_or_refused(tmp_path: Path, kind: str) -> None:
    raw = np.array([[0, -1], [-1, 0]], kind)
    path, shown = tmp_path / "m.npy", "-1.0, 0.0" if kind == "f4" else "-1, 0"
    with pytest.raises(DataError) as caught:
        to_mask(raw, MaskDeclaration(), path)
    assert str(caught.value) == (
        f"{path}: is not a binary mask: it has 2 values ({shown}) where 0 and one above it are expected; declare "
        "`mask.threshold` (127 suits 8-bit pictures), `mask.labels` or `mask.unknown` in dataset.yaml."
    )
    assert to_mask(raw, MaskDeclaration(labels=(-1,)), path)[0].tolist() == [[0, 1], [1, 0]]
    mask, known = to_mask(raw, MaskDeclaration(unknown=-1), path)
    assert (mask.tolist(), known.tolist()) == ([[0, 0], [0, 0]], [[True, False], [False, True]])


def test_mask_with_colours(folder: Path) -> None:
    save(folder / "mask/s0.png", np.dstack([np.zeros((6, 8), np.uint8), np.full((6, 8, 2), 255, np.uint8)]))
    assert message(folder) == (
        f"{folder}/mask/s0.png: has colours where one value per pixel is needed; save it as a grey picture, 0 beside "
        "the object and 255 on it."
    )


def test_depth_without_a_known_pixel(folder: Path) -> None:
    save(folder / "depth/s0.png", np.zeros((6, 8), np.uint16))
    assert message(folder) == (
        f"{folder}/depth/s0.png: has no pixel of known depth (depth 0 to 0, unknown raw values: [0]); mend "
        "`depth.unknown` in dataset.yaml or take the sample out."
    )


def test_depth_out_of_range_is_counted_not_clipped(folder: Path) -> None:
    depth = np.full((6, 8), 2500, np.uint16)
    depth[0] = 0
    depth[1, :3] = 5001
    depth[2, 0] = 999
    save(folder / "depth/s0.png", depth)
    assert message(folder) == (
        f"{folder}/depth/s0.png: 4 of 40 known pixels lie outside the declared range [1, 5] (least 0.999, greatest "
        "5.001); mend `depth.range`, `scale`, `offset` or `unknown` in dataset.yaml, or say "
        "`outside: unknown`."
    )


def test_the_ends_of_the_range_are_inside(folder: Path) -> None:
    save(folder / "depth/s0.png", np.array([[1000, 5000] * 4] * 6, np.uint16))
    assert first(folder).depth[0, :2].tolist() == [1.0, 5.0]


def test_pixels_are_read_as_they_are_stored_whatever_exif_says(folder: Path) -> None:
    picture = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    exif = Image.Exif()
    exif[274] = 6  # to be turned by a quarter for looking at
    Image.fromarray(picture).save(folder / "image/s0.png", exif=exif)
    np.testing.assert_array_equal(first(folder).image, picture)
    Image.fromarray(picture).save(folder / "image/s0.jpg", exif=exif)
    assert colour(folder / "image/s0.jpg").shape == (6, 8, 3)
