"""The size of a picture from its header, and what is said where there is none."""

import io
import struct
import zlib

import pytest

from dmx.datatools.importers.tree import picture_size


def png(width: int, height: int) -> io.BytesIO:
    """A PNG of that size by its header; of pixels it has none."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [header, b"IDAT", b"IEND"]
    data = b"".join(struct.pack(">I", len(one) - 4) + one + struct.pack(">I", zlib.crc32(one)) for one in chunks)
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + data)


@pytest.mark.parametrize(
    ("width", "height", "seen"),
    [
        (64, 48, (48, 64)),
        (10_000, 10_000, (10_000, 10_000)),
        (10_001, 10_000, "with a picture of more than 100 megapixels; make it smaller"),
        (14_000, 13_500, "with a picture of more than 100 megapixels; make it smaller"),  # which PIL takes for a bomb
        (2**31 - 1, 2**31 - 1, "with a picture of more than 100 megapixels; make it smaller"),
    ],
)
def test_a_picture_that_is_too_large_is_not_called_unreadable(width: int, height: int, seen: object) -> None:
    assert picture_size(png(width, height)) == seen


def test_what_is_no_picture() -> None:
    assert picture_size(io.BytesIO(b"")) == picture_size(io.BytesIO(b"\x89PNG")) == "with a picture that cannot be read"
