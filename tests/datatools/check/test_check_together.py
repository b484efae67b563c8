"""What can be told of samples only together, on hand-made digests."""

from pathlib import Path

import numpy as np
import pytest

from dmx.data.declaration import Declaration
from dmx.data.layout import DatasetIndex
from dmx.data.samples import Part, Record, Samples
from dmx.datatools.check import Finding
from dmx.datatools.check.comparison import compare_samples
from dmx.datatools.check.sample import SUMMARY, digest

Seen = tuple[str, str, Part | None, int, int, int, int, int]
"""Id, group, part, digests of image, mask, depth, background, and the width."""


def findings(*rows: Seen) -> list[Finding]:
    records = [
        Record(name, group, part, f"i/{name}", f"m/{name}", f"d/{name}", f"b/{name}") for name, group, part, *_ in rows
    ]
    index = DatasetIndex(Path("set"), Declaration(name="set", depth=None), Samples.of(records))
    seen = np.array([(i, m, d, b, 64, w) for _, _, _, i, m, d, b, w in rows], SUMMARY)
    return list(compare_samples(index, seen))


def told(*rows: Seen) -> list[tuple[str, str, str, int]]:
    return [(one.kind, one.sample, one.role, one.affected) for one in findings(*rows)]


def test_unlike_samples_and_unread_ones_are_not_told() -> None:
    assert told(("a", "g", None, 1, 1, 1, 1, 64), ("b", "h", None, 2, 1, 2, 2, 64)) == []
    assert told(("a", "g", None, 0, 0, 0, 0, 0), ("b", "h", None, 0, 0, 0, 0, 0)) == []


def test_the_later_id_is_the_copy() -> None:
    rows: list[Seen] = [("a", "g", None, 1, 5, 1, 1, 64), ("b", "g", None, 2, 6, 2, 1, 64)]
    (found,) = findings(*rows, ("c", "g", None, 1, 5, 1, 1, 64))
    assert (found.kind, found.sample) == ("duplicate", "c")
    assert found.text == (
        "its image has the same pixels as that of 'a', in the same group 'g', and so has its mask; take one out"
    )


def test_an_image_with_another_mask() -> None:
    first: Seen = ("a", "g", None, 1, 5, 1, 1, 64)
    assert told(first, ("b", "g", None, 1, 6, 1, 1, 64)) == [("image-repeated", "b", "image", 1)]
    (found,) = findings(first, ("b", "h", None, 1, 6, 1, 2, 64))
    assert (found.kind, found.severity) == ("leak", "error")
    assert found.text == (
        "its image has the same pixels as that of 'a', in group 'g' and here in 'h'; give both one group, or take one "
        "out"
    )


def test_a_background_in_two_groups_is_told_where_it_is_rarer() -> None:
    rows: list[Seen] = [
        (name, "h" if name in "ad" else "g", None, n, 1, n, 7, 64) for n, name in enumerate("abcdef", 1)
    ]
    (found,) = findings(*rows)
    assert (found.kind, found.sample, found.file, found.affected) == ("leak", "a", "b/a", 2)
    assert found.text == (
        "group 'h' shows the background of group 'g', so that a split by group leaks; give both one group, or restore "
        "the background"
    )


def test_depth_under_two_images() -> None:
    rows: list[Seen] = [("a", "g", None, 1, 1, 9, 1, 64), ("b", "g", None, 2, 2, 9, 1, 64)]
    (found,) = findings(*rows)
    assert (found.kind, found.sample, found.severity) == ("depth-repeated", "b", "warning")
    assert found.text == "the depth of 'a', of which the image differs; look whose depth it is"


def test_a_group_in_two_parts() -> None:
    parts: list[Part] = ["train", "train", "test", "train", "test"]
    rows: list[Seen] = [
        (name, "g", part, n, 1, n, 1, 64) for n, (name, part) in enumerate(zip("abcde", parts, strict=True), 1)
    ]
    (found,) = findings(*rows)
    assert (found.kind, found.sample, found.affected) == ("group-torn", "c", 2)
    assert found.text == (
        "group 'g' stands in train (3 samples) and in test (2); mend `split` or `group` in samples.csv"
    )


@pytest.mark.parametrize(("odd", "kinds"), [(1, ["size-unusual"]), (2, [])])
def test_a_size_is_unusual_where_nine_of_ten_have_another(odd: int, kinds: list[str]) -> None:
    rows: list[Seen] = [(f"{n:02}", "g", None, n, 1, n, 1, 32 if n <= odd else 64) for n in range(1, 11)]
    assert [one.kind for one in findings(*rows)] == kinds


def test_digests_tell_shape_and_kind_of_number_apart() -> None:
    flat = np.arange(12, dtype=np.uint8)
    made = {digest(flat), digest(flat.reshape(3, 4)), digest(flat.reshape(4, 3)), digest(flat.astype(np.uint16))}
    assert len(made) == 4
    assert digest(flat.reshape(3, 4).T) == digest(np.ascontiguousarray(flat.reshape(3, 4).T))
