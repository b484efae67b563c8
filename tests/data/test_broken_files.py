"""Files that are no pictures, not all of them, or more than them."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from dmx.data.decoding import colour
from dmx.data.layout import read
from dmx.data.reading import read_quartet
from dmx.errors import DataError


def message(folder: Path) -> str:
    index = read(folder)
    with pytest.raises(DataError) as caught:
        read_quartet(index, index.samples[0])
    return str(caught.value)


def test_missing_picture(folder: Path) -> None:
    (folder / "image/s0.png").unlink()
    assert message(folder) == (
        f"{folder}/image/s0.png: cannot be read (No such file or directory); put the picture there or leave it out."
    )


def test_missing_background(folder: Path) -> None:
    (folder / "background/b.png").unlink()
    assert message(folder) == (
        f"{folder}/background/b.png: cannot be read (No such file or directory); put the picture there or leave it out."
    )


def test_other_kind_of_file(folder: Path) -> None:
    (folder / "image/s0.png").write_text("GIF89a")
    assert message(folder) == (
        f"{folder}/image/s0.png: is GIF, which is not read; convert it to PNG or JPEG; or leave it out."
    )


@pytest.mark.parametrize("kind", [".png", ".jpg"])
def test_truncated_picture(folder: Path, kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    data = cv2.imencode(kind, noise)[1].tobytes()
    (folder / "image/s0.png").write_bytes(data[: len(data) * 2 // 3])
    assert message(folder) == (
        f"{folder}/image/s0.png: is truncated or damaged ({len(data) * 2 // 3} bytes); restore the picture or leave it "
        "out."
    )


def photograph(*options: int) -> bytes:
    """A JPEG, in whose EXIF stands a small one with an end of its own."""
    pixels = cv2.resize(np.random.default_rng(0).integers(0, 255, (9, 9, 3), np.uint8), (80, 60))
    data = cv2.imencode(".jpg", pixels, options)[1].tobytes()
    small = b"Exif\0\0" + cv2.imencode(".jpg", pixels[::4, ::4])[1].tobytes()
    return data[:2] + b"\xff\xe1" + (2 + len(small)).to_bytes(2) + small + data[2:]


@pytest.mark.parametrize(
    "whole",
    [
        photograph(),
        photograph(cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        photograph(cv2.IMWRITE_JPEG_RST_INTERVAL, 3),
        cv2.imencode(".png", np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8))[1].tobytes(),
    ],
)
def test_what_stands_behind_the_end_does_no_harm_but_does_not_replace_it(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "picture"
    path.write_bytes(whole)
    expected = colour(path)
    trailer = b"SEFT" + bytes(200)  # as a telephone writes it
    path.write_bytes(whole + trailer)
    np.testing.assert_array_equal(colour(path), expected)
    for cut in (8, 9, 20, 100, len(whole) // 3, len(whole) - 40):
        for more in (trailer, b""):
            path.write_bytes(whole[:-cut] + more)
            with pytest.raises(DataError, match="is truncated or damaged"):
                colour(path)


def test_damaged_png(folder: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    data = bytearray(cv2.imencode(".png", noise)[1].tobytes())
    data[4000:4040] = bytes(40)
    (folder / "image/s0.png").write_bytes(bytes(data))
    assert "is truncated or damaged" in message(folder)
