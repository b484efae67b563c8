"""Contact sheets show the samples asked for, as they are."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmx.data.declaration import Declaration
from dmx.data.layout import DatasetIndex, read
from dmx.data.samples import Record, Samples
from dmx.datatools.sheet import (
    LINE,
    OUTLINE,
    SIDE,
    UNKNOWN,
    choose,
    contact_sheet,
    depth_picture,
    fitted,
    legend,
    mask_picture,
    outlined,
    show,
    warm,
)
from dmx.errors import UserError
from dmx.quartet import DepthSpec


def grouped(counts: list[int]) -> DatasetIndex:
    names = [f"g{group}" for group, count in enumerate(counts) for _ in range(count)]
    records = [Record(f"{n:04}", group, None, "i", "m", None, None) for n, group in enumerate(names)]
    return DatasetIndex(Path("set"), Declaration(name="set", depth=None), Samples.of(records))


@given(st.lists(st.integers(1, 6), min_size=1, max_size=12), st.integers(1, 20), st.integers(0, 99))
def test_the_choice_is_spread_over_groups(counts: list[int], count: int, seed: int) -> None:
    index = grouped(counts)
    rows = choose(index, count, seed)
    assert rows == choose(index, count, seed)
    assert rows == sorted(set(rows))
    assert len(rows) == min(count, sum(counts))
    taken = [sum(index.samples[row].group == f"g{group}" for row in rows) for group in range(len(counts))]
    for mine, size in zip(taken, counts, strict=True):  # a group that could have given more has given as many as any
        assert mine == size or mine >= max(taken) - 1


def test_another_seed_gives_others() -> None:
    index = grouped([4] * 50)
    assert len({tuple(choose(index, 5, seed)) for seed in range(10)}) > 5


def test_a_sheet_shows_its_pictures(rooms: DatasetIndex) -> None:
    sheet = show(rooms, count=3)
    ids = [rooms.samples[row].id for row in choose(rooms, 3, 0)]
    assert (sheet == show(rooms, ids=ids)).all()
    row = 2 * LINE + SIDE + 4
    assert sheet.shape == (3 * row + LINE, 5 * (SIDE + 4), 3)
    from dmx.data.reading import read_quartet

    second = read_quartet(rooms, rooms.samples[choose(rooms, 3, 0)[1]])
    assert second.background is not None
    place = slice(row + 2 * LINE, row + 2 * LINE + SIDE)
    assert (sheet[place, :SIDE] == fitted(second.background)).all()
    assert (sheet[place, SIDE + 4 : 2 * SIDE + 4] == fitted(second.image)).all()


def test_samples_without_background_and_depth_lack_the_cells(rooms: DatasetIndex) -> None:
    from dataclasses import replace

    from dmx.data.reading import read_quartet

    quartet = replace(read_quartet(rooms, rooms.samples[0]), background=None)
    assert contact_sheet(rooms, [quartet]).shape[1] == 4 * (SIDE + 4)
    bare = DatasetIndex(rooms.root, Declaration(name="bare", depth=None), rooms.samples)
    assert contact_sheet(bare, [quartet]).shape[:2] == (2 * LINE + SIDE + 4, 3 * (SIDE + 4))


def test_no_such_sample(rooms: DatasetIndex) -> None:
    with pytest.raises(UserError) as caught:
        show(rooms, ids=["000001", "0000026"])
    assert str(caught.value) == f"{rooms.root}: no sample '0000026'; did you mean '000026'? ids are in samples.csv"


def test_near_is_warm_and_unknown_is_grey() -> None:
    depth = np.array([[1.0, 5.0, 3.0]], np.float32)
    valid = np.array([[True, True, False]])
    for near, (red, blue) in (("low", (0, 1)), ("high", (1, 0))):
        picture = depth_picture(depth, valid, 1.0, 5.0, near)[0].astype(int)
        assert picture[red, 0] > picture[red, 2] + 50
        assert (picture[red] == warm(np.ones((1, 1)))[0, 0]).all()
        assert (picture[blue] == warm(np.zeros((1, 1)))[0, 0]).all()
        assert (picture[2] == UNKNOWN).all()


def test_the_mask_and_its_edge() -> None:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[50:60, 70:90] = 1
    drawn = mask_picture(mask > 0, mask < 2)
    assert (drawn[mask > 0] == 255).all()
    assert (drawn[mask == 0] == 0).all()
    assert (mask_picture(mask > 0, mask > 2) == UNKNOWN).all()
    image = np.full((SIDE, SIDE, 3), 7, np.uint8)
    edge = (outlined(image, mask) == OUTLINE).all(axis=2)
    assert edge.sum() == 12 * 22 - 10 * 20
    assert not edge[mask > 0].any()


def test_the_legend_ends_with_near() -> None:
    bar = legend(DepthSpec("metric", 0.5, 8.0), 1.0, 4.0)[LINE // 2]
    assert (bar[130] == warm(np.zeros((1, 1)))[0, 0]).all()
    assert (bar[329] == warm(np.ones((1, 1)))[0, 0]).all()


def test_written_as_png(rooms: DatasetIndex, tmp_path: Path) -> None:
    import cv2

    from dmx.data.writing import write_picture

    sheet = show(read(rooms.root), count=2, seed=3)
    write_picture(tmp_path / "sheet.png", sheet)
    stored = cv2.imread(str(tmp_path / "sheet.png"))
    assert stored is not None
    assert (stored[..., ::-1] == sheet).all()
