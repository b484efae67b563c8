"""Samples and batches: kept or not, with any number of workers, from any place in the epoch, they are the same."""

import math
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dmx.data.dataset import QuartetDataset, collate
from dmx.data.layout import DatasetIndex, read
from dmx.data.loader import LoaderOptions, Sampling, make_loader
from dmx.errors import DataError
from dmx.quartet import Batch, HostBatch, Quartet


def dataset_of(index: DatasetIndex, *, memory: bool = False, size: tuple[int, int] = (16, 24)) -> QuartetDataset:
    return QuartetDataset(index, [record.id for record in index.samples], size, memory=memory)


def same(one: HostBatch, other: HostBatch) -> bool:
    assert one.ids == other.ids
    return all(torch.equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(HostBatch) if f.name != "ids")


def test_shapes_and_types_of_a_batch(rooms: DatasetIndex) -> None:
    host = next(iter(make_loader(dataset_of(rooms), Sampling(batch_size=5, seed=0, epoch=0, shuffle=False))))
    batch = host.to(torch.device("cpu"))
    assert isinstance(batch, Batch)
    assert len(batch) == 5
    assert batch.ids == tuple(record.id for record in rooms.samples[:5])
    assert batch.background is not None
    for name, channels, kind in [
        ("image", 3, torch.float32),
        ("background", 3, torch.float32),
        ("mask", 1, torch.float32),
        ("mask_valid", 1, torch.bool),
        ("depth", 1, torch.float32),
        ("valid", 1, torch.bool),
    ]:
        value = getattr(batch, name)
        assert (value.shape, value.dtype) == ((5, channels, 16, 24), kind)


def test_pictures_are_in_0_to_1_in_either_memory_format(rooms: DatasetIndex) -> None:
    host = next(iter(make_loader(dataset_of(rooms), Sampling(batch_size=5, seed=0, epoch=0, shuffle=False))))
    assert host.image.dtype == torch.uint8
    expected = host.image.double().permute(0, 3, 1, 2) / 255
    for memory_format in (torch.contiguous_format, torch.channels_last):
        image = host.to(torch.device("cpu"), memory_format).image
        assert image.is_contiguous(memory_format=memory_format)
        torch.testing.assert_close(image.double(), expected, rtol=0, atol=1e-7)


def brighter(quartet: Quartet, seed: int) -> Quartet:
    return replace(quartet, image=quartet.image // 2 + np.uint8(seed % 128))


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker")
def test_what_is_drawn_for_a_sample_depends_on_seed_epoch_and_number_alone(rooms: DatasetIndex) -> None:
    dataset = dataset_of(rooms, memory=True)

    def epoch(seed: int, epoch: int, skip: int = 0, workers: int = 0) -> dict[str, float]:
        sampling = Sampling(4, seed, epoch, shuffle=True, skip=skip)
        loader = make_loader(dataset, sampling, brighter, LoaderOptions(workers))
        return {one: float(batch.image[i].double().sum()) for batch in loader for i, one in enumerate(batch.ids)}

    first = epoch(0, 0)
    assert len(first) == 27
    assert epoch(0, 0, workers=2) == epoch(0, 0, workers=4) == first
    assert epoch(0, 0, skip=3) == {name: first[name] for name in epoch(0, 0, skip=3)}
    for other in (epoch(0, 1), epoch(1, 0)):
        assert sum(other[name] == first[name] for name in first) < 4
    assert same(collate([dataset[0]]), collate([dataset_of(rooms)[0]]))  # what is kept is not changed


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker")  # more than there may be cores
def test_the_same_batches_for_0_2_and_4_workers(rooms: DatasetIndex) -> None:
    dataset = dataset_of(rooms)
    runs = [
        list(
            make_loader(
                dataset, Sampling(batch_size=4, seed=7, epoch=3, shuffle=True), options=LoaderOptions(workers=workers)
            )
        )
        for workers in (0, 2, 4)
    ]
    assert len(runs[0]) == 7
    for other in runs[1:]:
        assert all(same(a, b) for a, b in zip(runs[0], other, strict=True))


def test_kept_samples_are_the_same_and_share_their_background(rooms: DatasetIndex) -> None:
    lazy, kept, loaded = dataset_of(rooms), dataset_of(rooms, memory=True), dataset_of(rooms, memory=True)
    told: list[tuple[int, int]] = []
    loaded.preload(lambda done, total: told.append((done, total)))
    assert told == [(n, 27) for n in range(1, 28)]
    runs = [
        list(make_loader(one, Sampling(batch_size=8, seed=0, epoch=0, shuffle=True)))
        for one in (lazy, kept, kept, loaded)
    ]
    for other in runs[1:]:
        assert all(same(a, b) for a, b in zip(runs[0], other, strict=True))
    assert loaded[0] is loaded[0]
    assert loaded[0].background is loaded[1].background
    assert loaded[0].background is not loaded[4].background


def test_skipping_goes_on_where_it_was(rooms: DatasetIndex) -> None:
    dataset = dataset_of(rooms, memory=True)
    whole = list(make_loader(dataset, Sampling(batch_size=4, seed=1, epoch=2, shuffle=True)))
    rest = make_loader(dataset, Sampling(batch_size=4, seed=1, epoch=2, shuffle=True, skip=3))
    assert len(rest) == 4
    assert all(same(a, b) for a, b in zip(whole[3:], rest, strict=True))
    assert len(list(make_loader(dataset, Sampling(batch_size=4, seed=1, epoch=2, shuffle=True, skip=7)))) == 0


def test_a_share_is_part_of_a_larger_one_and_the_same_in_every_epoch() -> None:
    def chosen(share: float, epoch: int) -> list[int]:
        return [
            i
            for batch in Sampling(8, seed=3, epoch=epoch, shuffle=True, train_fraction=share).batches(40)
            for i in batch
        ]

    tenth, half, whole = (set(chosen(share, 0)) for share in (0.1, 0.5, 1.0))
    assert (len(tenth), len(half), len(whole)) == (4, 20, 40)
    assert tenth < half < whole
    assert set(chosen(0.5, 1)) == half
    assert chosen(0.5, 1) != chosen(0.5, 0)
    assert len(chosen(0.001, 0)) == 2


def test_the_global_random_state_is_neither_used_nor_changed(rooms: DatasetIndex) -> None:
    dataset = dataset_of(rooms, memory=True)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = [batch.ids for batch in make_loader(dataset, Sampling(batch_size=4, seed=0, epoch=0, shuffle=True))]
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert [batch.ids for batch in make_loader(dataset, Sampling(batch_size=4, seed=0, epoch=0, shuffle=True))] == first


@given(st.integers(1, 80), st.integers(1, 20), st.integers(0, 99), st.integers(0, 99), st.booleans())
def test_every_sample_once_and_none_alone(count: int, size: int, seed: int, epoch: int, shuffle: bool) -> None:
    batches = Sampling(size, seed=seed, epoch=epoch, shuffle=shuffle).batches(count)
    assert sorted(one for batch in batches for one in batch) == list(range(count))
    assert batches == Sampling(size, seed=seed, epoch=epoch, shuffle=shuffle).batches(count)
    if not shuffle:
        assert [one for batch in batches for one in batch] == list(range(count))
        assert len(batches) == math.ceil(count / size)
    elif size > 1 and count > 1:
        assert all(2 <= len(batch) <= size + 1 for batch in batches)


def test_a_lone_last_sample_joins_the_batch_before_in_training_only() -> None:
    assert [len(batch) for batch in Sampling(4, seed=0, epoch=0, shuffle=True).batches(9)] == [4, 5]
    assert [len(batch) for batch in Sampling(4, seed=0, epoch=0, shuffle=False).batches(9)] == [4, 4, 1]
    assert [len(batch) for batch in Sampling(1, seed=0, epoch=0, shuffle=True).batches(3)] == [1, 1, 1]
    assert [len(batch) for batch in Sampling(4, seed=0, epoch=0, shuffle=True).batches(1)] == [1]


def test_epochs_and_seeds_give_different_orders() -> None:
    orders = [Sampling(50, seed=seed, epoch=epoch, shuffle=True).batches(50)[0] for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(one) for one in orders}) == 4


def test_triplets_have_no_background(folder: Path) -> None:
    text = (folder / "samples.csv").read_text()
    (folder / "samples.csv").write_text(text.replace(",background/b.png", "").replace(",background", ""))
    batch = next(iter(make_loader(dataset_of(read(folder)), Sampling(batch_size=2, seed=0, epoch=0, shuffle=False))))
    assert batch.background is None


def test_preload_raises_the_first_error_in_order(folder: Path) -> None:
    for name in ("s0", "s1"):
        (folder / f"mask/{name}.png").write_text("")
    with pytest.raises(DataError, match=r"mask/s0.png: is truncated or damaged \(0 bytes\)"):
        dataset_of(read(folder), memory=True).preload()


def test_preload_without_memory(folder: Path) -> None:
    with pytest.raises(
        ValueError, match="`preload` keeps samples, but the data set was made with memory=False; make it"
    ):
        dataset_of(read(folder)).preload()


def test_ids_of_other_data(folder: Path) -> None:
    with pytest.raises(DataError) as caught:
        QuartetDataset(read(folder), ["s0", "x", "y"], (8, 8), memory=False)
    assert str(caught.value) == (
        f"{folder}: has no sample 'x' (2 of 3 ids are unknown); the split belongs to other data, so make it anew."
    )
