"""What EXIF says of how a picture is to be turned is never followed for one role alone, nor passed over in silence."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image, ImageOps

from dmx.data.dataset import QuartetDataset
from dmx.data.decoding import colour, photograph
from dmx.data.headers import header
from dmx.data.layout import read
from dmx.data.pack.write import pack
from dmx.data.reading import read_quartet
from dmx.datatools.check import check
from dmx.datatools.importers.mapping import mapping
from dmx.errors import DataError
from dmx.quartet import Quartet


def tagged(path: Path, pixels: np.ndarray, orientation: int) -> None:
    """The pixels as they are, with a note that they are to be turned for looking at."""
    exif = Image.Exif()
    exif[0x010F] = "a maker"
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)


def square(folder: Path) -> np.ndarray:
    """Make the samples square; gives a photograph."""
    for role in ("image", "background", "mask", "depth"):
        for path in (folder / role).glob("*.png"):
            pixels = np.asarray(Image.open(path))
            Image.fromarray(pixels[:6, :6].copy()).save(path)
    return np.random.default_rng(0).integers(0, 256, (6, 6, 3), np.uint8)


def declare(folder: Path, **values: object) -> None:
    path = folder / "dataset.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | values))


def first(folder: Path) -> Quartet:
    index = read(folder)
    return read_quartet(index, index.samples[0])


@pytest.mark.parametrize("kind", ["png", "jpg"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_what_pillow_says(tmp_path: Path, orientation: int, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    tagged(path, np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8), orientation)
    found = header(path.read_bytes())
    assert found is not None
    assert found.orientation == photograph(path).orientation == orientation
    with Image.open(path) as picture:
        np.testing.assert_array_equal(colour(path), np.asarray(picture.convert("RGB")))
        np.testing.assert_array_equal(colour(path, upright=True), np.asarray(ImageOps.exif_transpose(picture)))
    assert photograph(path, upright=True).orientation == 1


@pytest.mark.parametrize("orientation", [2, 3, 6, 8])
def test_a_square_photograph_beside_an_upright_mask_is_asked_for(folder: Path, orientation: int) -> None:
    pixels = square(folder)
    tagged(folder / "image/s0.png", pixels, orientation)
    said = (
        f"are to be turned in different ways by EXIF's orientation (image {orientation}, mask 1, depth 1, background "
        "1), and nothing tells whether mask and depth were drawn on the turned photograph; say in dataset.yaml `exif: "
        "upright` (turn each as its EXIF says) or `exif: stored` (turn none), or turn the pixels themselves"
    )
    with pytest.raises(DataError) as caught:
        first(folder)
    assert str(caught.value) == f"{folder}: the pictures of sample 's0' {said}."
    (found,) = [one for one in check(read(folder), workers=1).findings if one.kind == "turned"]
    assert (found.sample, found.role, found.severity, found.text) == ("s0", "sample", "error", said)
    declare(folder, exif="stored")
    np.testing.assert_array_equal(first(folder).image, pixels)
    declare(folder, exif="upright")
    np.testing.assert_array_equal(first(folder).image, colour(folder / "image/s0.png", upright=True))
    assert not [one for one in check(read(folder), workers=1).findings if one.kind == "turned"]


def test_where_sizes_agree_as_they_are_stored_nothing_is_asked(folder: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    tagged(folder / "image/s0.png", pixels, 6)
    np.testing.assert_array_equal(first(folder).image, pixels)
    tagged(folder / "image/s0.png", pixels, 3)  # upside down has the same size
    with pytest.raises(DataError, match="nothing tells whether mask and depth were drawn on the turned photograph"):
        first(folder)


def test_where_sizes_agree_only_upright_that_is_said_and_one_word_does_it(folder: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 6, 3), np.uint8)
    tagged(folder / "image/s0.png", pixels, 6)
    with pytest.raises(DataError, match="and they have one size only where that is done; say in"):
        first(folder)
    kinds = {one.kind for one in check(read(folder), workers=1).findings if one.sample == "s0"}
    assert "turned" in kinds
    assert "size-differs" not in kinds
    declare(folder, exif="upright")
    np.testing.assert_array_equal(first(folder).image, np.rot90(pixels, -1))


def test_pictures_that_are_all_turned_alike_are_read_as_they_are_stored(folder: Path) -> None:
    for role in ("image", "background", "mask", "depth"):
        for path in (folder / role).glob("*.png"):
            pixels = np.asarray(Image.open(path))
            tagged(path, pixels, 8)
    found = first(folder)
    assert found.mask[2, 3] == 1
    assert not found.valid[0].any()
    declare(folder, exif="upright")
    turned = first(folder)
    np.testing.assert_array_equal(turned.mask, np.rot90(found.mask))
    np.testing.assert_array_equal(turned.depth, np.rot90(found.depth))


def test_an_import_says_that_sizes_agree_upright_and_takes_the_word(folder: Path, tmp_path: Path) -> None:
    for name in ("s0", "s1"):
        tagged(folder / f"image/{name}.png", np.zeros((8, 6, 3), np.uint8), 8)
    written = {
        "name": "turned",
        "folder": str(folder),
        "files": {role: f"{role}/*.png" for role in ("image", "mask", "depth")},
        "group": "id",
        "depth": yaml.safe_load((folder / "dataset.yaml").read_text())["depth"],
    }
    path = tmp_path / "turned.yaml"
    path.write_text(yaml.safe_dump(written))
    with pytest.raises(
        DataError, match="2 with pictures of different sizes, but of one as EXIF turns them: say `exif: u"
    ):
        mapping(path, tmp_path / "out")
    path.write_text(yaml.safe_dump(written | {"exif": "upright"}))
    assert mapping(path, tmp_path / "out").samples == 2
    assert first(tmp_path / "out").image.shape == (6, 8, 3)


def test_a_pack_holds_pictures_turned_and_says_nothing_more(folder: Path, tmp_path: Path) -> None:
    tagged(folder / "image/s0.png", square(folder), 6)
    tagged(folder / "background/b.png", np.arange(108, dtype=np.uint8).reshape(6, 6, 3), 3)
    declare(folder, exif="upright")
    pack(read(folder), tmp_path / "packed", size=(8, 8), workers=1)
    packed = read(tmp_path / "packed")
    assert packed.declaration.exif is None
    ours, theirs = (QuartetDataset(one, ["s0", "s1"], (8, 8), memory=False) for one in (packed, read(folder)))
    for one, other in zip(ours, theirs, strict=True):
        for role in ("image", "background", "mask", "depth", "valid"):
            np.testing.assert_array_equal(getattr(one, role), getattr(other, role))
