"""Arrays of NumPy in the forms that people save: read rightly, or refused with the reason."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmx.data.arrays import channel_axis
from dmx.data.decoding import plane
from dmx.datatools.importers.tree import UNREADABLE, picture_size
from dmx.errors import DataError

VALUES = np.arange(48).reshape(6, 8)
FORMS = {
    "plane": lambda a: a,
    "h_w_1": lambda a: a[..., None],
    "1_h_w": lambda a: a[None],
    "1_1_h_w": lambda a: a[None, None],
    "1_h_w_1": lambda a: a[None, ..., None],
    "h_w_3": lambda a: np.dstack([a] * 3),
    "3_h_w": lambda a: np.stack([a] * 3),
    "fortran": np.asfortranarray,
    "fortran_1_h_w": lambda a: np.asfortranarray(a[None]),
    "turned": lambda a: np.ascontiguousarray(a.T).T,
}


def saved(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["?", "u1", ">u2", "<i4", ">i8", "f2", ">f4", "<f8", "longdouble"])
def test_every_form_of_every_type_is_one_value_for_each_pixel(tmp_path: Path, form: str, kind: str) -> None:
    values = (VALUES % 2).astype(kind) if kind == "?" else VALUES.astype(kind)
    path = saved(tmp_path / "a.npy", FORMS[form](values))
    for role in ("mask", "depth"):
        found = plane(path, role).pixels  # type: ignore[arg-type]
        assert found.dtype.isnative
        assert found.dtype.kind in "uif"
        np.testing.assert_array_equal(found, values)
    with path.open("rb") as file:
        assert picture_size(file) == (6, 8)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (
            np.zeros((3, 8, 3)),
            r"holds float64\[3, 8, 3\], which may be read in two ways, where one number for each pixel",
        ),
        (np.zeros((1, 8, 1), "u1"), r"holds uint8\[1, 8, 1\], which is no picture, where one number for each pixel"),
        (np.zeros((6, 8, 2), "f4"), r"holds float32\[6, 8, 2\], which is no picture"),
        (np.zeros((5, 6, 8), "f4"), r"holds float32\[5, 6, 8\], which is no picture"),
        (np.zeros((2, 1, 6, 8), "f4"), r"holds float32\[2, 1, 6, 8\], which is no picture"),
        (np.zeros(48), r"holds float64\[48\], which is no picture"),
        (np.float64(3), r"holds float64\[\], which is no picture"),
        (np.zeros((0, 8)), r"holds float64\[0, 8\], which is no picture"),
        (np.zeros((6, 8), "c8"), "holds complex64 where one number for each pixel is needed; save it as"),
        (np.zeros((6, 8), "U3"), "holds <U3 where one number for each pixel is needed"),
        (np.zeros((6, 8), [("z", "f4")]), r"holds \[\('z', '<f4'\)\] where one number for each pixel is needed"),
        (np.array({"depth": 1}, object), "holds objects where one number for each pixel is needed; save it as"),
    ],
)
def test_what_is_no_plane_is_refused_with_its_shape(tmp_path: Path, array: np.ndarray, said: str) -> None:
    path = saved(tmp_path / "a.npy", array)
    with pytest.raises(DataError, match=rf"a\.npy: {said}"):
        plane(path, "depth")


def test_colours_and_opacity_of_arrays_are_not_taken_for_one_value(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match="has colours where one value per pixel is needed"):
        plane(saved(tmp_path / "a.npy", rng.random((3, 6, 8))), "depth")
    rgba = np.dstack([VALUES] * 3 + [VALUES[::-1]])
    with pytest.raises(DataError, match=r"has values and an opacity that differs from them; say `mask.alpha: true`"):
        plane(saved(tmp_path / "a.npy", rgba), "mask")
    np.testing.assert_array_equal(plane(tmp_path / "a.npy", "mask", alpha=True).pixels, VALUES[::-1])


def test_a_tensor_whose_first_columns_are_equal_is_not_taken_for_colours(tmp_path: Path) -> None:
    """(1, H, W) was once read as H pixels wide with W channels where its first three columns agreed."""
    values = VALUES.copy()
    values[:, :3] = values[:, :1]
    np.testing.assert_array_equal(plane(saved(tmp_path / "a.npy", values[None]), "depth").pixels, values)


@given(st.tuples(st.integers(2, 9), st.integers(2, 9)))
def test_one_channel_in_front_or_behind_is_never_taken_for_a_side(sides: tuple[int, int]) -> None:
    assert channel_axis((*sides, 1)) == -1
    assert channel_axis((1, *sides)) == 0
    assert channel_axis(sides) is None


@pytest.mark.parametrize("claimed", ["(2000000, 2000000)", "(6, -8)", "(6, 8.5)", "(True, 8)", "[6, 8]", "(6, 9)", "6"])
def test_a_header_that_lies_is_not_believed(tmp_path: Path, claimed: str) -> None:
    file = io.BytesIO()
    np.save(file, VALUES.astype(np.float32))
    data = file.getvalue()
    start = 10 + int.from_bytes(data[8:10], "little")
    head = data[10:start].decode().replace("(6, 8)", claimed).strip().encode() + b"\n"
    path = tmp_path / "a.npy"
    path.write_bytes(data[:8] + len(head).to_bytes(2, "little") + head + data[start:])
    with pytest.raises(DataError, match=r"a\.npy: (is truncated or damaged|holds float32\[6\])"):
        plane(path, "depth")
    path.write_bytes(data[:20])
    with path.open("rb") as file_:
        assert picture_size(file_) == UNREADABLE
