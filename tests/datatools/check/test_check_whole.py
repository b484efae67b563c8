"""Whether files are whole, told from their bytes."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmx.datatools.check.sample import file_fault

NOISE = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
PNG = cv2.imencode(".png", NOISE)[1].tobytes()


def photograph(quality: int = 90, *more: int) -> bytes:
    smooth = cv2.resize(NOISE, (224, 224), interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".jpg", smooth, [cv2.IMWRITE_JPEG_QUALITY, quality, *more])[1].tobytes()


def kind(path: Path, data: bytes) -> str | None:
    path.write_bytes(data)
    found = file_fault(path, "image")
    return None if found is None else found[0]


def test_whole_files(tmp_path: Path) -> None:
    file = tmp_path / "picture"
    grey = cv2.imencode(".jpg", NOISE[..., 0])[1].tobytes()
    restarts = photograph(90, cv2.IMWRITE_JPEG_RST_INTERVAL, 4)
    for data in (PNG, grey, photograph(), photograph(60, cv2.IMWRITE_JPEG_PROGRESSIVE, 1), restarts, PNG + b"\n"):
        assert kind(file, data) is None


@given(at=st.integers(33, len(PNG) - 13), change=st.integers(1, 255))
def test_every_changed_byte_of_a_png_is_found(at: int, change: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    data = bytearray(PNG)
    data[at] ^= change
    assert kind(tmp_path_factory.getbasetemp() / "changed.png", bytes(data)) == "damaged"


@given(end=st.integers(9, len(PNG) - 9))
def test_every_cut_of_a_png_is_found(end: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert kind(tmp_path_factory.getbasetemp() / "cut.png", PNG[:end]) == "truncated"


def test_a_jpeg_damaged_in_its_middle(tmp_path: Path) -> None:
    """As OpenCV does not: it gives a picture and says nothing to its caller."""
    rng = np.random.default_rng(1)
    data = photograph()
    found = 0
    for _ in range(40):
        spoilt = bytearray(data)
        at = int(rng.integers(len(data) // 3, len(data) // 2))
        spoilt[at : at + 1024] = rng.bytes(1024)
        found += kind(tmp_path / "spoilt.jpg", bytes(spoilt)) == "damaged"
        assert cv2.imdecode(np.frombuffer(bytes(spoilt), np.uint8), cv2.IMREAD_COLOR) is not None
    assert found >= 38


def test_the_texts(tmp_path: Path) -> None:
    file = tmp_path / "picture"
    rest = "restore the picture or take the sample out of samples.csv"
    assert file_fault(file, "image") == (
        "missing",
        "cannot be read (No such file or directory); put the picture there or leave it out.",
    )
    file.write_bytes(b"")
    assert file_fault(file, "image") == ("empty-file", f"has no byte; {rest}")
    file.write_bytes(b"GIF89a--")
    assert file_fault(file, "image") == (
        "foreign",
        f"is GIF, which is not read; convert it to PNG or JPEG (it begins with 47 49 46 38 39 61 2d 2d), or {rest}",
    )
    file.write_bytes(photograph()[:5000])
    assert file_fault(file, "image") == ("truncated", f"has no end (5000 bytes); {rest}")
    file.write_bytes(PNG[:50] + b"\0" + PNG[51:])
    assert file_fault(file, "image") == ("damaged", f"its chunk at byte 33 does not fit its checksum; {rest}")
    file.write_bytes(photograph()[:3000] + photograph()[6000:])
    assert file_fault(file, "image") == (
        "damaged",
        f"its data are corrupt, or neither grey nor RGB (Something went wrong with the JPEG compressor); {rest}",
    )
