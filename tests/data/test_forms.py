"""Pictures in forms that people have, and files that are none: read rightly, or refused with what to do."""

import os
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dmx.data.declaration import Declaration
from dmx.data.decoding import LARGEST_FILE, colour, plane
from dmx.data.reading import decoded, to_mask
from dmx.errors import LONGEST_WORD, DataError

GREY = np.tile(np.array([0, 255, 0, 255, 255, 0, 0, 0], np.uint8), (6, 1))


def said(path: Path, role: str = "image", **asked: object) -> str:
    with pytest.raises(DataError) as caught:
        colour(path) if role == "image" else plane(path, role, **asked)  # type: ignore[arg-type]
    text = str(caught.value)
    named = f"{path}: "
    assert len(text) < 2_000
    if len(named) > LONGEST_WORD:  # its middle is left out
        return text.rpartition("n: ")[2]
    assert text.startswith(named)
    return text.removeprefix(named)


@pytest.mark.parametrize("kind", ["1", "L", "LA", "RGB", "RGBA", "P", "I;16", "JPEG", "CMYK"])
def test_a_mask_of_two_values_is_one_in_every_kind_of_picture(tmp_path: Path, kind: str) -> None:
    path, picture = tmp_path / "mask.TAR.PNG", Image.fromarray(GREY)
    if kind == "I;16":
        Image.fromarray(GREY.astype(np.uint16) * 257).save(path, "PNG")
    elif kind in ("JPEG", "CMYK"):
        big = Image.fromarray(np.kron(GREY, np.ones((16, 16), np.uint8)))
        big.convert("CMYK" if kind == "CMYK" else "L").save(path, "JPEG", quality=100)
    else:
        picture.convert(kind).save(path, "PNG")
    found = plane(path, "mask").pixels
    if kind in ("JPEG", "CMYK"):
        found = found[8::16, 8::16]
    np.testing.assert_array_equal(found > found.max() // 2, GREY > 0)


def test_a_palette_of_two_colours_is_sent_to_its_indices(tmp_path: Path) -> None:
    picture = Image.fromarray((GREY > 0).astype(np.uint8)).convert("P")
    picture.putpalette([0, 0, 0, 128, 0, 0])
    picture.save(tmp_path / "mask.png")
    assert said(tmp_path / "mask.png", "mask") == (
        "has colours where one value per pixel is needed; it is a PNG with a palette: say which of its indices are the "
        "object, `mask: {labels: [1]}` in dataset.yaml for one with two colours."
    )
    np.testing.assert_array_equal(plane(tmp_path / "mask.png", "mask", indices=True).pixels, GREY > 0)


def save_grey(path: Path, numbers: np.ndarray, bits: int) -> None:
    """A grey PNG of few bits, 8 pixels wide."""
    rows = [b"\0" + np.packbits((row[:, None] >> np.arange(bits)[::-1]) & 1).tobytes() for row in numbers]

    def chunk(name: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4) + name + data + zlib.crc32(name + data).to_bytes(4)

    head = (8).to_bytes(4) + len(rows).to_bytes(4) + bytes((bits, 0, 0, 0, 0))
    data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"".join(rows))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_numbers_in_grey_of_few_bits_are_not_spread(tmp_path: Path, bits: int) -> None:
    classes = np.random.default_rng(0).integers(0, 2**bits, (6, 8), np.uint8)
    save_grey(tmp_path / "mask.png", classes, bits)
    np.testing.assert_array_equal(plane(tmp_path / "mask.png", "mask", indices=True).pixels, classes)
    np.testing.assert_array_equal(plane(tmp_path / "mask.png", "mask").pixels, classes)
    assert said(tmp_path / "mask.png", "depth") == (
        f"is grey of {bits} bits, too coarse for depth; nobody can tell whether its white is 255 or the greatest "
        "number it can store; save it with 8 or 16 bits."
    )


RAMP = np.tile(np.array([0, 1, 2, 3, 3, 2, 1, 0], np.uint8), (6, 1))


@pytest.mark.parametrize(
    ("bits", "declared", "objects", "unknown"),
    [
        (1, {}, [1], []),
        (1, {"threshold": 0}, [1], []),
        (1, {"threshold": 127}, [1], []),
        (1, {"labels": [1]}, [1], []),
        (1, {"labels": [255]}, [1], []),
        (1, {"labels": [5, 6], "unknown": 65535}, [], []),
        (1, {"threshold": 0, "unknown": 255}, [], [1]),
        (1, {"threshold": 0, "unknown": 1}, [], [1]),
        (1, {"labels": [0], "unknown": 255}, [0], [1]),
        (2, {"threshold": 0, "unknown": 3}, [1, 2], [3]),
        (2, {"threshold": 1}, [2, 3], []),
        (2, {"threshold": 127}, [2, 3], []),
        (2, {"threshold": 127, "unknown": 85}, [2, 3], [1]),
        (2, {"labels": [1, 3], "unknown": 2}, [1, 3], [2]),
        (2, {"labels": [3], "unknown": -1}, [3], []),
        (4, {"labels": [34], "unknown": 255}, [2], []),
        (4, {"threshold": 2, "unknown": 1}, [3], [1]),
    ],
)
def test_a_mask_in_few_bits_means_the_same_by_whatever_key_it_is_declared(
    tmp_path: Path, bits: int, declared: dict[str, object], objects: list[int], unknown: list[int]
) -> None:
    path, numbers = tmp_path / "mask.png", np.minimum(RAMP, 2**bits - 1)
    save_grey(path, numbers, bits)
    whole = Declaration.model_validate({"name": "a", "depth": None, "mask": declared})
    mask, known = to_mask(decoded(path, "mask", whole).pixels, whole.mask, path)
    np.testing.assert_array_equal(mask, np.isin(numbers, objects))
    np.testing.assert_array_equal(known, ~np.isin(numbers, unknown))


@pytest.mark.parametrize(
    ("bits", "declared", "shown"),
    [
        (1, {"labels": [1], "unknown": 255}, "labels: [1], unknown: 255"),
        (2, {"threshold": 127, "unknown": 3}, "threshold: 127, unknown: 3"),
        (4, {"labels": [2, 34]}, "labels: [2, 34]"),
    ],
)
def test_numbers_and_greys_of_few_bits_do_not_go_together(
    tmp_path: Path, bits: int, declared: dict[str, object], shown: str
) -> None:
    path = tmp_path / "mask.png"
    save_grey(path, np.minimum(RAMP, 2**bits - 1), bits)
    whole = Declaration.model_validate({"name": "a", "depth": None, "mask": declared})
    with pytest.raises(DataError) as caught:
        decoded(path, "mask", whole)
    assert str(caught.value) == (
        f"{path}: is a PNG of {bits} bits, which hold numbers from 0 to {2**bits - 1}, where `mask: {{{shown}}}` in "
        "dataset.yaml speaks of greys up to 255; give those numbers alone there, or save it as a grey picture of 8 "
        "bits."
    )


def test_white_is_no_index_of_a_palette_of_two_colours(tmp_path: Path) -> None:
    path, picture = tmp_path / "mask.png", Image.fromarray((GREY > 0).astype(np.uint8)).convert("P")
    picture.putpalette([0, 0, 0, 255, 255, 255])
    picture.save(path, bits=1)
    whole = Declaration.model_validate({"name": "a", "depth": None, "mask": {"labels": [1], "unknown": 255}})
    np.testing.assert_array_equal(decoded(path, "mask", whole).pixels, GREY > 0)
    whole = Declaration.model_validate({"name": "a", "depth": None, "mask": {"labels": [255]}})
    with pytest.raises(
        DataError, match=r"is a PNG of 1 bits, which hold indices of a palette from 0 to 1, where `mask"
    ):
        decoded(path, "mask", whole)
    whole = Declaration.model_validate({"name": "a", "depth": None, "mask": {"threshold": 127}})
    np.testing.assert_array_equal(decoded(path, "mask", whole).pixels, GREY)


def test_opacity_that_says_something_else_than_the_values_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    black = np.zeros((6, 8, 3), np.uint8)
    cv2.imwrite(str(path), np.dstack([black, GREY]))
    assert said(path, "mask") == (
        "has values and an opacity that differs from them; say `mask.alpha: true` in dataset.yaml where the opacity is "
        "the mask, else save it without."
    )
    assert said(path, "depth") == (
        "has values and an opacity that differs from them; save the depth without it, with a value for what is unknown "
        "where it is transparent."
    )
    np.testing.assert_array_equal(plane(path, "mask", alpha=True).pixels, GREY)
    cv2.imwrite(str(path), np.dstack([GREY] * 4))
    np.testing.assert_array_equal(plane(path, "mask").pixels, GREY)


def test_depth_in_colours_is_not_sent_to_a_grey_copy(tmp_path: Path) -> None:
    number = np.arange(48, dtype=np.uint32).reshape(6, 8) * 300_000
    coded = np.dstack([number >> 16 & 255, number >> 8 & 255, number & 255]).astype(np.uint8)
    for picture in (coded, cv2.applyColorMap(GREY, cv2.COLORMAP_JET)):
        cv2.imwrite(str(tmp_path / "a.png"), picture)
        assert said(tmp_path / "a.png", "depth") == (
            "has colours where one value per pixel is needed; where they hold one number in three bytes (as CARLA "
            "does), put it together, where they are a colour map, take the numbers that it was drawn from, and save "
            "those as NPY, EXR or 16-bit PNG: a grey copy of colours is no depth."
        )


@pytest.mark.parametrize("kind", ["WEBP", "GIF", "TIFF", "BMP", "JPEG2000", "AVIF", "PPM"])
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a"])
def test_other_formats_are_named_whatever_the_file_is_called(tmp_path: Path, kind: str, name: str) -> None:
    Image.fromarray(GREY).convert("RGB").save(tmp_path / name, kind)
    for role, wanted in (("image", "PNG or JPEG"), ("mask", "PNG (8 or 16 bits), NPY or EXR")):
        text = said(tmp_path / name, role)
        assert f", which is not read; convert it to {wanted}; or leave it out." in text
        assert text.lower().startswith(f"is {'netpbm' if kind == 'PPM' else kind.lower()[:4]}")


def test_an_animated_png_is_no_picture(tmp_path: Path) -> None:
    picture = Image.fromarray(GREY)
    picture.save(tmp_path / "a.png", save_all=True, append_images=[picture.rotate(180)])
    for role in ("image", "mask"):
        assert said(tmp_path / "a.png", role) == "is animated (2 frames); save one picture or leave it out."


def with_size(data: bytes, side: int) -> bytes:
    """A PNG or JPEG that claims to be a square of that side."""
    if data.startswith(b"\x89PNG"):
        head = b"IHDR" + side.to_bytes(4) * 2 + bytes((8, 2, 0, 0, 0))
        return data[:12] + head + zlib.crc32(head).to_bytes(4) + data[33:]
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + side.to_bytes(2) * 2 + data[at + 4 :]


@pytest.mark.parametrize("kind", [".png", ".jpg"])
def test_a_bomb_is_refused_by_its_header(tmp_path: Path, kind: str) -> None:
    """60000x60000 pixels of one colour: 11 MB of file would become 10 GB, and of a JPEG's that claims so, too."""
    picture = cv2.imencode(kind, np.dstack([GREY] * 3))[1].tobytes()
    room = bytes(11_000_000)
    chunk = len(room).to_bytes(4) + b"roOM" + room + zlib.crc32(b"roOM" + room).to_bytes(4)
    data = picture[:33] + chunk + picture[33:] if kind == ".png" else picture[:-2] + room + picture[-2:]
    (tmp_path / "a").write_bytes(with_size(data, 60_000))
    for role in ("image", "mask", "depth"):
        assert said(tmp_path / "a", role) == (
            "has 60000x60000 pixels in 3 channels, more than is read (100000000 pixels, 600000000 bytes); make it "
            "smaller or leave it out."
        )
    (tmp_path / "a").write_bytes(with_size(picture, 9_000))  # as much as nothing that is so short can hold
    for role in ("image", "mask", "depth"):
        assert said(tmp_path / "a", role).startswith("is truncated or damaged (")


def test_the_flattest_pictures_are_not_taken_for_lies(tmp_path: Path) -> None:
    flat = np.zeros((4000, 6000), np.uint8)
    for kind, options in ((".png", (cv2.IMWRITE_PNG_COMPRESSION, 9)), (".jpg", (cv2.IMWRITE_JPEG_OPTIMIZE, 1))):
        for more in ((), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)) if kind == ".jpg" else ((),):
            path = tmp_path / f"a{kind}"
            assert cv2.imwrite(str(path), flat, [*options, *more])
            assert not plane(path, "mask").pixels.any()


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "empty.png").touch()
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(LARGEST_FILE + 1)  # takes no room on the disk
    rest = "; put the picture there or leave it out."
    expected = {
        "pipe.png": "cannot be read (it is a pipe or a device)" + rest,
        "folder.png": "cannot be read (Is a directory)" + rest,
        "link.png": "cannot be read (No such file or directory)" + rest,
        "loop.png": "cannot be read (Too many levels of symbolic links)" + rest,
        "zero\0byte.png": "cannot be read (embedded null byte)" + rest,
        "n" * 300: "cannot be read (File name too long)" + rest,
        "huge.png": f"cannot be read (it has {LARGEST_FILE + 1} bytes, more than {LARGEST_FILE})" + rest,
        "empty.png": "is truncated or damaged (0 bytes); restore the picture or leave it out.",
    }
    for name, text in expected.items():
        for role in ("image", "depth"):
            assert said(tmp_path / name, role) == text
    assert said(Path("/dev/zero")) == expected["pipe.png"]
    if os.geteuid():
        (tmp_path / "empty.png").chmod(0)
        assert said(tmp_path / "empty.png") == "cannot be read (Permission denied)" + rest
