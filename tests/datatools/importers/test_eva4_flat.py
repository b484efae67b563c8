"""EVA4 quartets in the flat shape: the n-th pictures of four folders."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dmx.data.layout import read
from dmx.data.reading import read_quartet
from dmx.data.writing import Summary
from dmx.errors import DataError

Run = Callable[..., Summary]
Save = Callable[[Path, np.ndarray], None]


def test_flat_in_the_order_of_numbers(flat: Path, tmp_path: Path, run: Run) -> None:
    (flat / "mask/Thumbs.db").write_text("left by Windows")
    (flat / "mask/notes.txt").write_text("no picture")
    assert str(run("eva4", flat)).endswith("12 samples in 3 groups; left out: 1 not a picture (mask/notes.txt)")
    index = read(tmp_path / "out")
    index.check_files()
    for record in index.samples:
        number, quartet = int(record.id), read_quartet(index, record)
        assert quartet.background is not None
        assert (quartet.image[0, 0, 0], quartet.background[0, 0, 0]) == (number, 100 + number // 4)
        assert record.group == f"room{9 + number // 4}"
        assert (record.mask, record.depth) == (f"mask/{number}_mask.png", f"depth/d{number}.png")


def test_flat_where_a_picture_is_missing(flat: Path, tmp_path: Path, run: Run) -> None:
    (flat / "depth/d7.png").unlink()
    with pytest.raises(DataError) as caught:
        run("eva4", flat)
    assert str(caught.value).startswith(
        f"{flat}: is not a set of EVA4 quartets as expected (bg_fg/, mask/ and depth/ hold 12, 12 and 11 pictures); "
        "give the folder or zip file that holds bg/ and bgfg_overlay/"
    )
    (flat / "mask/3_mask.png").unlink()
    (flat / "bg_fg/11.png").unlink()  # as many again, but not of the same quartets
    with pytest.raises(
        DataError, match=r"\(number 4 in their folders are bg_fg/3.png, mask/4_mask.png, depth/d3.png, "
    ):
        run("eva4", flat)
    assert [path.name for path in tmp_path.iterdir()] == ["flat"]


def test_flat_where_the_same_quartets_are_missing_everywhere(flat: Path, run: Run) -> None:
    """Nine in three groups could be shared out evenly, among the wrong backgrounds."""
    for number in (3, 4, 5):
        for name in (f"bg_fg/{number}.png", f"mask/{number}_mask.png", f"depth/d{number}.png"):
            (flat / name).unlink()
    with pytest.raises(DataError, match=r"\(bg_fg/6.png comes after bg_fg/2.png, as if pictures between them were m"):
        run("eva4", flat)


def test_flat_with_one_number_twice(flat: Path, run: Run, save: Save) -> None:
    for name in ("bg_fg/5.jpg", "mask/5_mask.jpg", "depth/d5.jpg"):
        save(flat / name, np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(DataError, match=r"\(bg_fg/5.png comes after bg_fg/5.jpg, as if"):
        run("eva4", flat)


@pytest.mark.parametrize("first", [0, 1, 1000])
def test_flat_counted_from_anywhere(flat: Path, run: Run, first: int) -> None:
    for number in reversed(range(12)):
        (flat / f"bg_fg/{number}.png").rename(flat / f"bg_fg/{number + first}.png")
        (flat / f"mask/{number}_mask.png").rename(flat / f"mask/{number + first}_mask.png")
        (flat / f"depth/d{number}.png").rename(flat / f"depth/d{number + first}.png")
    assert run("eva4", flat).samples == 12


def test_flat_counted_anew_for_each_background(flat: Path, tmp_path: Path, run: Run) -> None:
    for number in range(12):
        name = f"{'abc'[number // 4]}{number % 4 + 1}.png"
        for old in (f"bg_fg/{number}.png", f"mask/{number}_mask.png", f"depth/d{number}.png"):
            (flat / old).rename(flat / old.split("/")[0] / name)
    assert run("eva4", flat).groups == 3
    assert [(one.id, one.group) for one in read(tmp_path / "out").samples][3:5] == [("a4", "room9"), ("b1", "room10")]


def test_flat_with_a_background_too_many(flat: Path, run: Run, save: Save) -> None:
    for number in range(2):
        save(flat / f"bg/more{number}.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(DataError, match=r"\(12 images cannot be shared out evenly among 5 backgrounds\); give the"):
        run("eva4", flat)


def test_name_that_is_not_utf_8(flat: Path, tmp_path: Path, run: Run) -> None:
    image = flat / "bg_fg/3.png"
    image.rename(os.fsdecode(os.fsencode(flat / "bg_fg/3") + b"\xe4.png"))  # as Windows wrote it in Latin-1
    summary = str(run("eva4", flat))
    assert summary.endswith("11 samples in 3 groups; left out: 1 with a file name that is not UTF-8 (bg_fg/3\\xe4.png)")
    read(tmp_path / "out").check_files()
