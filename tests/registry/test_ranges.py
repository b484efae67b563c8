"""Search ranges: what they refuse, in which words, and how they read."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmx.registry import Choice, Range

REFUSED_RANGES = {
    "`low` must be below `high`, but got low=3, high=1; swap them.": {"low": 3, "high": 1},
    "`low` must be below `high`, but got low=1, high=1; swap them.": {"low": 1, "high": 1},
    "`low` must be below `high`, but got low=nan, high=1; swap them.": {"low": math.nan, "high": 1},
    "`log` needs `low` above 0, but got low=0; raise it or drop `log`.": {"low": 0, "high": 1, "log": True},
    "`log` and `step` exclude each other, but got step=1; drop one.": {"low": 1, "high": 9, "log": True, "step": 1},
    "`step` must be above 0, but got step=0.": {"low": 1, "high": 9, "step": 0},
}


@pytest.mark.parametrize(("text", "arguments"), REFUSED_RANGES.items())
def test_a_range_that_makes_no_sense_is_refused(text: str, arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        Range(**arguments)


@given(st.floats(allow_nan=False), st.floats(allow_nan=False), st.booleans())
def test_a_range_is_taken_exactly_where_it_has_numbers_in_it(low: float, high: float, log: bool) -> None:
    if low < high and (low > 0 or not log):
        assert (Range(low, high, log).low, Range(low, high, log).high) == (low, high)
    else:
        with pytest.raises(ValueError, match="but got low="):
            Range(low, high, log)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((), "`Choice` needs at least one value, but got none."),
        (("a", "b", "a"), "`Choice` needs different values, but got ('a', 'b', 'a')."),
    ],
)
def test_a_choice_needs_different_values(values: tuple[str, ...], text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        Choice(*values)


def test_they_read_as_tables_show_them() -> None:
    assert str(Range(1e-5, 0.1, log=True)) == "1e-05 .. 0.1, log"
    assert str(Range(8, 64, step=8)) == "8 .. 64, step 8"
    assert str(Range(0, 1)) == "0 .. 1"
    assert str(Choice("image", 3, None, False)) == "image | 3 | None | False"
