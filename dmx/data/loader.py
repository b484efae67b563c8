"""Batches in an order that is a function of (seed, epoch), whatever the number of workers."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from dmx.data.dataset import QuartetDataset
from dmx.data.transform import Sample
from dmx.quartet import Batch


def make_loader(
    dataset: QuartetDataset,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    shuffle: bool,
    workers: int = 0,
    skip: int = 0,
    pin_memory: bool = False,
) -> DataLoader[Batch]:
    """The batches of one epoch.

    No sample is left out. Where `shuffle` (in training) a single one would remain for the last batch, it joins the
    batch before, for batch norm cannot train on one value per channel.

    Args:
        dataset: The samples.
        batch_size: Samples a batch.
        seed: With `epoch` it gives the order.
        epoch: Which epoch.
        shuffle: Whether the order is a random one; else it is that of the data set.
        workers: Processes that read ahead; 0 reads in this one. The batches are the same.
        skip: How many batches to leave out at the start: those done before an interruption.
        pin_memory: Whether batches come in page-locked memory, for a GPU.
    """
    batches = order(len(dataset), batch_size, seed=seed, epoch=epoch, shuffle=shuffle)[skip:]
    return DataLoader(
        cast("Dataset[Batch]", dataset),  # torch has no type for a loader whose `collate_fn` makes something else
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=pin_memory,
        generator=torch.Generator().manual_seed(seed),  # else each epoch would draw from the global random state
    )


def order(count: int, batch_size: int, *, seed: int, epoch: int, shuffle: bool) -> list[list[int]]:
    """The numbers of the samples of each batch."""
    numbers = np.random.default_rng((seed, epoch)).permutation(count) if shuffle else np.arange(count)
    batches = [numbers[start : start + batch_size].tolist() for start in range(0, count, batch_size)]
    if shuffle and batch_size > 1 and len(batches) > 1 and len(batches[-1]) == 1:
        lone = batches.pop()
        batches[-1] += lone
    return batches


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples to a batch."""
    backgrounds = [sample.background for sample in samples if sample.background is not None]
    return Batch(
        ids=tuple(sample.id for sample in samples),
        image=torch.stack([sample.image for sample in samples]),
        background=torch.stack(backgrounds) if backgrounds else None,
        mask=torch.stack([sample.mask for sample in samples]),
        mask_valid=torch.stack([sample.mask_valid for sample in samples]),
        depth=torch.stack([sample.depth for sample in samples]),
        valid=torch.stack([sample.valid for sample in samples]),
    )
