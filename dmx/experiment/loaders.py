"""The batches of an experiment: one data set and split at the sizes of its stages."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import psutil

from dmx.config.experiment import DataConfig, Stage
from dmx.data.dataset import QuartetDataset
from dmx.data.layout import DatasetIndex, read
from dmx.data.loader import make_loader, order
from dmx.data.split import Split
from dmx.quartet import Batch

LOADERS_AT_MOST = 8
# image and background as three float32 each, mask and depth as one each, two bytes of validity
BYTES_PER_PIXEL = 4 * (3 + 3 + 1 + 1) + 2


@lru_cache(maxsize=8)  # the trials of a study train on the same samples: decode them once
def in_memory(root: Path, fingerprint: str, ids: tuple[str, ...], size: tuple[int, int]) -> QuartetDataset:
    """The samples with these `ids` as a data set that keeps what it has decoded."""
    return QuartetDataset(read(root), ids, size, memory=True)


@dataclass(frozen=True)
class StageLoaders:
    """Batches for training at each stage's size and for validation and test at the last one's.

    Attributes:
        index: The data set.
        fingerprint: Its fingerprint.
        split: Which samples are for what.
        stages: The stages of training.
        config: Memory and workers.
        seed: Decides the order of the samples, together with the epoch.
        pin_memory: Whether batches are made in page-locked memory, for a GPU.
    """

    index: DatasetIndex
    fingerprint: str
    split: Split
    stages: Sequence[Stage]
    config: DataConfig
    seed: int
    pin_memory: bool

    def train(self, stage: Stage, epoch: int, skip: int) -> Iterable[Batch]:
        """The shuffled batches of an epoch but for the first `skip`."""
        return make_loader(
            self._dataset(self.split.train, stage.height_width),
            batch_size=stage.batch_size,
            seed=self.seed,
            epoch=epoch,
            shuffle=True,
            workers=self.workers,
            skip=skip,
            pin_memory=self.pin_memory,
        )

    def steps(self, stage: Stage) -> int:
        """How many batches an epoch of `stage` has."""
        return len(order(len(self.split.train), stage.batch_size, seed=self.seed, epoch=0, shuffle=True))

    def val(self) -> Iterable[Batch]:
        """All validation samples, in order."""
        return self._in_order(self.split.val)

    def test(self) -> Iterable[Batch]:
        """All test samples, in order."""
        return self._in_order(self.split.test)

    def preload(self, progress: Callable[[int, int], None]) -> None:
        """Bring what the first stage and validation need into memory, where it is to be kept there.

        Raises:
            DataError: A sample is not as declared.
        """
        if self.memory:
            self._dataset(self.split.train, self.stages[0].height_width).preload(progress)
            self._dataset(self.split.val, self.stages[-1].height_width).preload(progress)

    @cached_property  # asked once: what is kept takes from what is free
    def memory(self) -> bool:
        """Whether decoded samples are kept in memory."""
        if self.config.memory != "auto":
            return self.config.memory
        pixels = sum(height * width for height, width in {stage.height_width for stage in self.stages})
        wanted = len(self.index.samples) * pixels * BYTES_PER_PIXEL
        return wanted < psutil.virtual_memory().available / 4

    @property
    def workers(self) -> int:
        """How many loader processes run beside the training."""
        if self.config.workers != "auto":
            return self.config.workers
        return 0 if self.memory else min(LOADERS_AT_MOST, len(os.sched_getaffinity(0)))

    def _in_order(self, ids: tuple[str, ...]) -> Iterable[Batch]:
        last = self.stages[-1]
        return make_loader(
            self._dataset(ids, last.height_width),
            batch_size=last.batch_size,
            seed=self.seed,
            epoch=0,
            shuffle=False,
            workers=self.workers,
            pin_memory=self.pin_memory,
        )

    def _dataset(self, ids: tuple[str, ...], size: tuple[int, int]) -> QuartetDataset:
        if self.memory:
            return in_memory(self.index.root, self.fingerprint, ids, size)
        return QuartetDataset(self.index, ids, size, memory=False)
