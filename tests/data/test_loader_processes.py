"""Loader processes that die, hang or find no shared memory; nothing waits for ever, and no batch is lost."""

import multiprocessing
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from helpers.faults import AtSample, asleep, killed, nothing, stopped, wrong

from dmx.data import loader as loader_module
from dmx.data.dataset import QuartetDataset
from dmx.data.layout import DatasetIndex
from dmx.data.loader import LoaderOptions, Sampling, attended, in_shared_memory, make_loader
from dmx.errors import MachineError
from dmx.quartet import HostBatch


def loaded(
    index: DatasetIndex, deed: Callable[[], None], sample: int, mark: Path | None = None, **how: object
) -> Iterator[HostBatch]:
    """The batches of 4; in loader processes, `deed` is done at that sample."""
    ids = [record.id for record in index.samples]
    dataset = QuartetDataset(index, ids, (16, 24), memory=False)
    augment = AtSample(ids[sample], deed, os.getpid(), mark)
    options = LoaderOptions(**{"workers": 2, **how})  # type: ignore[arg-type]
    return attended(make_loader(dataset, Sampling(4), augment, options))


def batches(index: DatasetIndex, deed: Callable[[], None] = nothing, **how: object) -> list[HostBatch]:
    """All batches; in loader processes, `deed` is done at the first sample of the third batch."""
    return list(loaded(index, deed, 8, **how))


def same(one: list[HostBatch], other: list[HostBatch]) -> bool:
    return len(one) == len(other) and all(
        a.ids == b.ids and all(torch.equal(getattr(a, n), getattr(b, n)) for n in ("image", "mask", "depth", "valid"))
        for a, b in zip(one, other, strict=True)
    )


def refuse(self: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")


def test_batches_are_the_same_in_shared_memory_and_through_a_pipe(
    rooms: DatasetIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = batches(rooms, workers=0)
    shared, piped = batches(rooms), batches(rooms, shared=False)
    assert same(shared, here)
    assert same(piped, here)
    assert all(batch.image.is_shared() for batch in shared)
    assert not any(batch.image.is_shared() for batch in piped)
    monkeypatch.setattr(torch.Tensor, "share_memory_", refuse)  # as where others fill it meanwhile
    none_left = batches(rooms)
    assert same(none_left, here)
    assert not any(batch.image.is_shared() for batch in none_left)


def test_a_batch_without_backgrounds_goes_through_a_pipe(rooms: DatasetIndex) -> None:
    from multiprocessing.reduction import ForkingPickler

    batch = batches(rooms, workers=0)[0]
    bare = HostBatch(**{**vars(batch), "background": None})
    for one in (batch, bare):
        arrived = ForkingPickler.loads(ForkingPickler.dumps(loader_module.Piped(one)))
        assert same([arrived], [one])
        assert (arrived.background is None) == (one.background is None)
    assert in_shared_memory(batch) is batch


def test_a_killed_loader_process_ends_the_run_with_a_message(rooms: DatasetIndex) -> None:
    began = time.monotonic()
    with pytest.raises(MachineError) as caught:
        batches(rooms, killed)
    assert time.monotonic() - began < 60
    text = str(caught.value)
    assert re.match(
        r"loader processes give no batch any more \(DataLoader worker \(pid(\(s\))? [\d, ]+\) "
        r"(is killed by signal: Killed|ended with exit code -9|exited unexpectedly)\)",
        text,
    )
    assert text.endswith(
        "If the system has killed one for want of memory, lower data.workers or the batch size; the same command goes "
        "on from the last checkpoint."
    )
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("deed", [asleep, stopped])
def test_a_loader_process_that_hangs_is_given_up(
    rooms: DatasetIndex, deed: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader_module, "PATIENCE", 3.0)
    with pytest.raises(MachineError, match=r"\(DataLoader timed out after 3.0 seconds\)"):
        batches(rooms, deed)
    assert multiprocessing.active_children() == []


def test_a_loader_process_that_hangs_while_it_hands_over_memory_is_given_up(
    rooms: DatasetIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader_module, "PATIENCE", 3.0)
    monkeypatch.setattr(loader_module, "DYING", 1.0)
    mark = tmp_path / "stopped"
    given = loaded(rooms, stopped, 16, mark)  # in the fifth batch, which is asked for when the first is taken
    next(given)
    while not mark.exists():
        time.sleep(0.01)
    with pytest.raises(MachineError, match=r"\(DataLoader timed out after 3.0 seconds\)"):
        list(given)  # the third is there, its memory with the process that stands still
    assert multiprocessing.active_children() == []


def test_other_errors_pass_as_they_are(rooms: DatasetIndex) -> None:
    with pytest.raises(ValueError, match="a defect"):
        batches(rooms, wrong)
