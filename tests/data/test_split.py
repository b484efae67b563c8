"""Splits: disjoint, complete, whole groups, the same for any order of rows."""

from collections import Counter
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmx.data.declaration import Declaration, DepthDeclaration
from dmx.data.layout import DatasetIndex
from dmx.data.samples import Part, Record, Samples
from dmx.data.split import Split, split
from dmx.errors import DataError, UserError

DECLARED = Declaration(name="x", depth=DepthDeclaration(kind="relative", range=(0.0, 1.0)))


def index_of(groups: list[str], official: dict[str, Part] | None = None) -> DatasetIndex:
    records = [
        Record(f"s{i:03d}", group, official[group] if official else None, "i", "m", "d", None)
        for i, group in enumerate(groups)
    ]
    return DatasetIndex(Path("data"), DECLARED, Samples.of(records))


def parts_of(found: Split) -> dict[str, tuple[str, ...]]:
    return {"train": found.train, "val": found.val, "test": found.test}


@st.composite
def grouped(draw: st.DrawFn) -> list[str]:
    names = draw(st.lists(st.integers(0, 30), min_size=3, max_size=60))
    return [f"g{name}" for name in [*names, 31, 32, 33]]


@given(grouped(), st.floats(0, 0.45), st.floats(0, 0.45), st.integers(0, 2**31), st.sampled_from(["group", "sample"]))
def test_disjoint_complete_and_whole(
    groups: list[str], val: float, test: float, seed: int, by: Literal["group", "sample"]
) -> None:
    index = index_of(groups)
    found = split(index, val=val, test=test, seed=seed, by=by)
    everywhere = [one for part in parts_of(found).values() for one in part]
    assert sorted(everywhere) == [record.id for record in index.samples]
    assert bool(found.val) == (val > 0)
    assert bool(found.test) == (test > 0)
    assert found.train
    if by == "group":
        group = {record.id: record.group for record in index.samples}
        homes = [{group[one] for one in part} for part in parts_of(found).values()]
        assert sum(map(len, homes)) == len(set(groups))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.data())
def test_official_test_stays_and_train_is_divided_by_group(names: list[int], data: st.DataObject) -> None:
    groups = [f"g{n}" for n in names] + ["t0", "t1", "e0"]
    official: dict[str, Part] = {"t0": "train", "t1": "train", "e0": "test"}
    for group in groups:
        official.setdefault(group, data.draw(st.sampled_from(["train", "test"])))
    index = index_of(groups, official)
    found = split(index, val=0.2, test=0.3, seed=data.draw(st.integers(0, 99)), by="group")
    assert found.test == tuple(r.id for r in index.samples if r.split == "test")
    assert set(found.train) | set(found.val) == {r.id for r in index.samples if r.split == "train"}
    assert found.train
    assert found.val
    group = {record.id: record.group for record in index.samples}
    assert {group[one] for one in found.train}.isdisjoint(group[one] for one in found.val)


@given(grouped(), st.randoms(use_true_random=False), st.integers(0, 99))
def test_order_of_rows_does_not_matter(groups: list[str], random: Any, seed: int) -> None:
    index = index_of(groups)
    shuffled = list(index.samples)
    random.shuffle(shuffled)
    other = DatasetIndex(index.root, index.declaration, Samples.of(shuffled))
    assert split(index, val=0.2, test=0.2, seed=seed, by="group") == split(
        other, val=0.2, test=0.2, seed=seed, by="group"
    )


def test_fractions_are_met_where_groups_are_equal() -> None:
    index = index_of([f"g{i // 4}" for i in range(100)])
    found = split(index, val=0.2, test=0.12, seed=0, by="group")
    assert {name: len(ids) for name, ids in parts_of(found).items()} == {"train": 68, "val": 20, "test": 12}


def test_one_huge_group_stays_in_training() -> None:
    index = index_of(["huge"] * 90 + [f"g{i}" for i in range(10)])
    for seed in range(20):
        found = split(index, val=0.05, test=0.05, seed=seed, by="group")
        assert (len(found.val), len(found.test)) == (5, 5)


def test_seed_zero_is_a_seed_and_seeds_differ() -> None:
    index = index_of([f"g{i}" for i in range(40)])
    found = [split(index, val=0.25, test=0.25, seed=seed, by="group") for seed in (0, 0, 1, 2)]
    assert found[0] == found[1]
    assert len({one.fingerprint for one in found}) == 3


def test_each_sample_is_as_likely_to_be_drawn() -> None:
    index = index_of([f"g{i}" for i in range(10)])
    counts = Counter(one for seed in range(600) for one in split(index, val=0.3, test=0.0, seed=seed, by="group").val)
    assert len(counts) == 10
    assert all(180 - 60 < count < 180 + 60 for count in counts.values())  # five standard deviations are 56


def test_official_val_stays() -> None:
    index = index_of(["a", "b", "c"], {"a": "train", "b": "val", "c": "test"})
    assert split(index, val=0.5, test=0.4, seed=0, by="group") == Split(("s000",), ("s001",), ("s002",))


def test_json_round_trip() -> None:
    found = split(index_of([f"g{i}" for i in range(5)]), val=0.2, test=0.2, seed=3, by="group")
    assert Split.from_json(found.to_json()) == found
    assert Split.from_json(found.to_json()).fingerprint == found.fingerprint


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"train": [], "val": [], "test": 3}', '{"train": [], "val": []}'])
def test_stored_split_of_another_kind(text: str) -> None:
    with pytest.raises(
        DataError, match=r"^stored split: cannot be read \(.*\); it must be what `to_json` wrote, so restore"
    ):
        Split.from_json(text)


@pytest.mark.parametrize(("val", "test"), [(0.6, 0.4), (-0.1, 0.1), (0.1, 1.0), (float("nan"), 0.1)])
def test_fractions_out_of_range(val: float, test: float) -> None:
    with pytest.raises(UserError) as caught:
        split(index_of(["a"]), val=val, test=test, seed=0, by="group")
    assert str(caught.value) == (
        "`val` and `test` must be in [0, 1) and leave something for training, "
        f"but got val={val}, test={test}; lower them."
    )


def test_too_few_groups() -> None:
    with pytest.raises(DataError) as caught:
        split(index_of(["a", "b", "a"]), val=0.1, test=0.1, seed=0, by="group")
    assert str(caught.value) == (
        "data: 2 groups to divide, but test, val and train need one each; add data, set the fraction of a part to 0, "
        "or split by sample."
    )
    with pytest.raises(
        DataError, match=r"^data: 1 sample to divide, but val and train need one each; add data, set the "
    ):
        split(index_of(["a"]), val=0.1, test=0.0, seed=0, by="sample")


def test_official_split_that_tears_a_group() -> None:
    records = (Record("s0", "a", "train", "i", "m", "d", None), Record("s1", "a", "test", "i", "m", "d", None))
    index = DatasetIndex(Path("data"), DECLARED, Samples.of(records))
    with pytest.raises(DataError) as caught:
        split(index, val=0.0, test=0.1, seed=0, by="group")
    assert str(caught.value) == (
        "data: the official split puts group 'a' into train ('s0') and into test ('s1'); mend `split` or `group` in "
        "samples.csv, or split by sample."
    )
    assert split(index, val=0.0, test=0.1, seed=0, by="sample") == Split(("s0",), (), ("s1",))
