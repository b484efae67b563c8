"""`dmx data pack`, as a user types it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dmx.data.layout import read

Run = Callable[..., Any]


def test_a_pack_is_made_once_and_trained_on(dmx: Run, tiny_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "pack"
    said = dmx("data", "pack", tiny_data, out, "--size", "24x32")
    assert (said.code, said.out.strip()) == (0, f"{out} now holds 48 samples in 12 groups")
    index = read(out)
    assert index.pack is not None
    assert index.pack.size == (24, 32)
    again = dmx("data", "pack", tiny_data, out, "--size", "24x32")
    assert (again.code, again.out.strip()) == (0, f"{out} holds already 48 samples in 12 groups")


@pytest.mark.parametrize("size", ["7", "x", "32x", "1x2x3", "9999"])
def test_a_size_that_is_none(dmx: Run, tiny_data: Path, tmp_path: Path, size: str) -> None:
    said = dmx("data", "pack", tiny_data, tmp_path / "pack", "--size", size)
    assert said.code == 2
    assert f"must be a side or HEIGHTxWIDTH of 8 to 4096 pixels, but got '{size}'." in said.err
    assert not (tmp_path / "pack").exists()


def test_what_looks_at_pictures_sends_a_user_from_the_pack_to_the_folder(
    dmx: Run, tiny_data: Path, tmp_path: Path
) -> None:
    dmx("data", "pack", tiny_data, tmp_path / "pack", "--size", "16")
    for command, *more in (("check",), ("stats",), ("show", tmp_path / "sheet.png")):
        said = dmx("data", command, tmp_path / "pack", *more)
        assert said.code == 2
        assert f"{tmp_path}/pack: is a pack" in said.err
        assert " the data set that it was made from" in said.err
