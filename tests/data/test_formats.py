"""One table says what is a picture: by its name for those who list, by its first bytes for those who decode."""

import io

import pytest
from PIL import Image

from dmx.data.formats import FORMATS, PHOTOGRAPHS, PLANES, by_content, endings, supported, why_not

ROLES = ("image", "background", "mask", "depth")


def test_what_is_read_is_what_is_listed() -> None:
    assert {".png", ".jpg", ".jpeg", ".jpe", ".jfif"} == PHOTOGRAPHS
    assert {".npy", ".exr"} == PLANES - PHOTOGRAPHS
    for role in ROLES:
        for ending in endings(role):
            for name in (f"a{ending}", f"A.TAR{ending.upper()}", f"x/.y/ü 1{ending}"):
                assert supported(name, role)
                assert why_not(name, role) is None


@pytest.mark.parametrize("role", ROLES)
def test_every_other_picture_is_named_and_nothing_else_is(role: str) -> None:
    for one in FORMATS:
        for ending in one.endings:
            said = why_not(f"a{ending.upper()}", role)
            assert supported(f"a{ending}", role) == (said is None)
            assert said is None or (said.startswith(f"is {one.name}, which ") and "PNG" in said)
    for name in ("notes.txt", "a", ".png", "a.png~", "a.csv", ""):
        assert not supported(name, role)
        assert why_not(name, role) is None


def test_each_says_what_to_do() -> None:
    assert why_not("a.webp", "image") == "is WebP, which is not read; convert it to PNG or JPEG"
    assert why_not("a.HEIC", "background") == (
        "is HEIC, which is not read; convert it to PNG or JPEG; `heif-convert A.heic A.jpg` does it, and telephones "
        "write JPEG where their camera is set so"
    )
    assert why_not("a.npy", "image") == "is NPY, which holds masks or depth, no photographs; convert it to PNG or JPEG"
    assert why_not("a.tiff", "depth") == "is TIFF, which is not read; convert it to PNG (8 or 16 bits), NPY or EXR"
    assert why_not("a.npz", "mask") == (
        "is NPZ (an archive of arrays), which is not read; convert it to PNG (8 or 16 bits), NPY or EXR; `numpy.save` "
        "writes one array"
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "JPEG2000", "AVIF", "PPM", "MPO"])
def test_content_tells_what_the_name_hides(kind: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, kind)
    found = by_content(file.getvalue())
    assert found is not None
    names = {"WEBP": "WebP", "JPEG2000": "JPEG 2000", "PPM": "Netpbm", "MPO": "JPEG"}
    assert found.name == names.get(kind, kind)
    assert by_content(b"") is None
    assert by_content(b"hello, world") is None
