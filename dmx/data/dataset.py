"""Torch data sets of one part of a split, at one size, read on demand or cached in memory."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import UInt8
from torch.utils.data import Dataset

from dmx.data.layout import DatasetIndex
from dmx.data.pack.read import PackReader
from dmx.data.processes import in_threads
from dmx.data.reading import KEPT_BYTES, read_quartet
from dmx.data.resize import resize
from dmx.data.writing import Progress
from dmx.errors import DataError
from dmx.quartet import HostBatch, Quartet


class QuartetDataset(Dataset[Quartet]):
    """A map-style data set: number -> `Quartet` of `size`.

    With `memory` each sample is decoded and resized once and kept. That takes 10 bytes a pixel for each sample and 3
    for each background, which is held once for all samples that share it.

    A sample is a function of (data set, id, size) alone; random augmentation is in `AugmentedDataset`.

    Args:
        index: The data set.
        ids: The samples, in order.
        size: (height, width) to which all are resized.
        memory: Keep decoded samples in memory.

    Raises:
        DataError: An id is not in the data set.
    """

    def __init__(self, index: DatasetIndex, ids: Sequence[str], size: tuple[int, int], *, memory: bool) -> None:
        self._rows = index.samples.rows(ids)
        unknown = np.flatnonzero(self._rows < 0)
        if unknown.size:
            raise DataError(
                f"{index.root}: has no sample '{ids[unknown[0]]}' ({unknown.size} of {len(ids)} ids are unknown); the "
                "split belongs to other data, so make it anew."
            )
        self.index = index
        self.size = size
        self._pack = None if index.pack is None else PackReader(index.root, index.pack, index.declaration.depth)
        self._memory = memory
        self._kept: dict[int, Quartet] = {}
        self._backgrounds: dict[str, UInt8[np.ndarray, "H W 3"]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: int) -> Quartet:
        if (kept := self._kept.get(number)) is not None:
            return kept
        record = self.index.samples[int(self._rows[number])]
        quartet = self._resized(self.original(number), record.background)
        if self._memory:
            self._kept[number] = quartet
        return quartet

    def original(self, number: int) -> Quartet:
        """Read a sample at its own size in the data set."""
        row = int(self._rows[number])
        return read_quartet(self.index, self.index.samples[row]) if self._pack is None else self._pack.quartet(row)

    def _resized(self, quartet: Quartet, path: str | None) -> Quartet:
        """Return the quartet at `size`; a shared background is resized only once."""
        if quartet.mask.shape == self.size and not self._memory:
            return quartet
        if path is None:
            return resize(quartet, self.size)
        kept = self._backgrounds.get(path)
        if kept is not None:
            return replace(resize(replace(quartet, background=None), self.size), background=kept)
        quartet = resize(quartet, self.size)
        assert quartet.background is not None
        if not self._memory and len(self._backgrounds) * quartet.background.nbytes > KEPT_BYTES:
            self._backgrounds.clear()
        return replace(quartet, background=self._backgrounds.setdefault(path, quartet.background))

    def __getitems__(self, numbers: Sequence[int]) -> HostBatch:
        """Return a batch, as torch's loader requests it; a pack of the same size is read without resizing."""
        if self._pack is not None and self._pack.size == self.size and not self._memory:
            return self._pack.batch(self._rows[list(numbers)])
        return collate([self[number] for number in numbers])

    def preload(self, progress: Progress | None = None) -> None:
        """Decode and keep all samples now, with one thread per core; requires `memory`.

        Raises:
            DataError: The first sample, in order, that cannot be read.
        """
        if not self._memory:
            raise ValueError("`preload` keeps samples, but the data set was made with memory=False; make it with True.")
        for _ in in_threads(self.__getitem__, range(len(self)), progress):
            pass


class AugmentedDataset(Dataset[Quartet]):
    """The samples of one training epoch, randomly augmented.

    The draw for a sample is a function of (seed, epoch, number), so it is the same for any number of workers and after
    an interruption.

    Args:
        samples: The data set.
        augment: (quartet, seed) -> augmented quartet, deterministic.
        seed: The run's seed.
        epoch: The epoch's number.
    """

    def __init__(
        self, samples: QuartetDataset, augment: Callable[[Quartet, int], Quartet], seed: int, epoch: int
    ) -> None:
        self._samples = samples
        self._augment = augment
        self._key = (seed, epoch)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, number: int) -> Quartet:
        return self._augment(self._samples[number], draw_seed(*self._key, number))

    def __getitems__(self, numbers: Sequence[int]) -> HostBatch:
        """Return a batch, as torch's loader requests it."""
        return collate([self[number] for number in numbers])


def draw_seed(seed: int, epoch: int, number: int) -> int:
    """Derive the 32-bit seed for one sample, or one batch, of one epoch."""
    return int(np.random.SeedSequence((seed, epoch, number)).generate_state(1)[0])


def collate(quartets: Sequence[Quartet]) -> HostBatch:
    """Stack samples into a batch."""

    def stack(arrays: Sequence[np.ndarray]) -> torch.Tensor:
        return torch.from_numpy(np.stack(arrays))

    backgrounds = [quartet.background for quartet in quartets if quartet.background is not None]
    return HostBatch(
        ids=tuple(quartet.id for quartet in quartets),
        image=stack([quartet.image for quartet in quartets]),
        background=stack(backgrounds) if backgrounds else None,
        mask=stack([quartet.mask for quartet in quartets]),
        mask_valid=stack([quartet.mask_valid for quartet in quartets]),
        depth=stack([quartet.depth for quartet in quartets]),
        valid=stack([quartet.valid for quartet in quartets]),
    )
