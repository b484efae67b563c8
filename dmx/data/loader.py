"""Batches in an order that is a function of (seed, epoch), whatever the number of workers."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from dmx.data.dataset import Epoch, QuartetDataset
from dmx.quartet import HostBatch, Quartet


def make_loader(
    dataset: QuartetDataset,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    shuffle: bool,
    share: float = 1.0,
    part: tuple[int, int] = (0, 1),
    augment: Callable[[Quartet, int], Quartet] | None = None,
    workers: int = 0,
    skip: int = 0,
    pin_memory: bool = False,
) -> DataLoader[HostBatch]:
    """The batches of one epoch.

    No sample is left out. Where `shuffle` (in training) a single one would remain for the last batch, it joins the
    batch before, for batch norm cannot train on one value per channel.

    Args:
        dataset: The samples.
        batch_size: Samples a batch.
        seed: With `epoch` it gives the order and what is drawn for `augment`.
        epoch: Which epoch.
        shuffle: Whether the order is a random one; else it is that of the data set.
        share: Of the samples, in (0, 1]; a smaller share is part of a larger one.
        part: Which of how many equal parts of each batch; what would be left over is left out.
        augment: Changes each sample by chance; None leaves it.
        workers: Processes that read ahead; 0 reads in this one. The batches are the same.
        skip: How many batches to leave out at the start: those done before an interruption.
        pin_memory: Whether batches come in page-locked memory, for a GPU.
    """
    batches = order(len(dataset), batch_size, seed=seed, epoch=epoch, shuffle=shuffle, share=share, part=part)[skip:]
    samples = dataset if augment is None else Epoch(dataset, augment, seed, epoch)
    return DataLoader(
        cast("Dataset[HostBatch]", samples),  # torch has no type for data sets that give whole batches
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=as_it_is,
        pin_memory=pin_memory,
        generator=torch.Generator().manual_seed(seed),  # else each epoch would draw from the global random state
    )


def order(
    count: int,
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    shuffle: bool,
    share: float = 1.0,
    part: tuple[int, int] = (0, 1),
) -> list[list[int]]:
    """The numbers of the samples of each batch; of a share, and of a part, at least two samples."""
    numbers = np.arange(count)
    if share < 1:
        numbers = np.sort(np.random.default_rng(seed).permutation(count)[: max(2, round(share * count))])
    if shuffle:
        numbers = np.random.default_rng((seed, epoch)).permutation(numbers)
    batches = [numbers[start : start + batch_size].tolist() for start in range(0, len(numbers), batch_size)]
    if shuffle and batch_size > 1 and len(batches) > 1 and len(batches[-1]) == 1:
        lone = batches.pop()
        batches[-1] += lone
    which, parts = part
    if parts == 1:
        return batches
    return [batch[which : len(batch) // parts * parts : parts] for batch in batches if len(batch) >= 2 * parts]


def as_it_is(batch: Any) -> Any:
    """What the data sets give is a batch already."""
    return batch
