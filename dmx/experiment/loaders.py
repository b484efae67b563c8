"""The batches of an experiment: one data set and split at the sizes of its stages, on the device."""

import logging
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal

import psutil
from filelock import FileLock
from torch.utils.data import DataLoader

from dmx.config.data import AugmentConfig, DataConfig
from dmx.config.experiment import Stage
from dmx.data.dataset import QuartetDataset, draw_seed
from dmx.data.layout import DatasetIndex, read
from dmx.data.loader import AHEAD, LoaderOptions, Sampling, attended, make_loader
from dmx.data.pack.form import VERSION
from dmx.data.pack.write import pack
from dmx.data.split import Split
from dmx.errors import DataError
from dmx.machine import SHARED_MEMORY, cores, shared_memory
from dmx.quartet import Batch, HostBatch, Quartet
from dmx.training.batch_norm import SAMPLES
from dmx.training.device import DeviceConfig
from dmx.training.distributed import rank, world_size

log = logging.getLogger(__name__)
LOADERS_AT_MOST = 8
BYTES_PER_PIXEL = 3 + 3 + 1 + 1 + 4 + 1
"""Bytes per pixel of a decoded sample: image, background, mask and its known pixels, depth and its known pixels."""
MEMORY_SHARE = 0.25
"""The share of the free memory that decoded samples may take."""
PACK_PAYS_FROM = 3
"""Minimum number of epochs for packing to pay off: it reads and writes each sample once, and every later epoch is
faster (measured: benchmarks/loaders.py)."""


@lru_cache(maxsize=8)  # epochs of a run and trials of a study share samples: open and decode them once
def opened(root: Path, stamp: str, ids: tuple[str, ...], size: tuple[int, int], *, memory: bool) -> QuartetDataset:
    """The samples with these `ids` of the data set that has this `stamp`."""
    return QuartetDataset(read(root), ids, size, memory=memory)


@dataclass(frozen=True)
class StageLoaders:
    """Batches for training at each stage's size and for validation and test at the last one's.

    Attributes:
        fingerprint: That of the data set.
        config: Cache and workers.
        augment: The augmentation of training samples.
        seed: Determines, together with the epoch, the order and augmentation of the samples.
        packs: The folder of packs, shared by experiments.
    """

    index: DatasetIndex
    fingerprint: str
    split: Split
    stages: Sequence[Stage]
    config: DataConfig
    augment: AugmentConfig
    seed: int
    device_config: DeviceConfig
    packs: Path

    def train(self, stage: Stage, epoch: int, skip: int) -> Iterator[Batch]:
        """The shuffled and augmented batches of an epoch without the first `skip`."""
        by_sample, by_batch = self._augments()
        samples = self._dataset(self.split.train, stage.height_width)
        loader = make_loader(samples, self._sampling(stage, epoch, skip), by_sample, self._options)
        for at, batch in enumerate(self._on_device(loader), start=skip):
            draw = at * world_size() + rank()
            yield batch if by_batch is None else by_batch(batch, draw_seed(self.seed, epoch, draw))

    def steps(self, stage: Stage) -> int:
        """How many batches an epoch of `stage` has."""
        return len(self._sampling(stage, epoch=0, skip=0).batches(len(self.split.train)))

    def _sampling(self, stage: Stage, epoch: int, skip: int) -> Sampling:
        return Sampling(stage.batch_size, self.seed, epoch, True, stage.share, rank(), world_size(), skip)

    @cached_property
    def groups(self) -> dict[str, str]:
        """The group of each sample for validation and test."""
        wanted = {*self.split.val, *self.split.test}
        return {sample.id: sample.group for sample in self.index.samples if sample.id in wanted}

    def val(self) -> Iterator[Batch]:
        """All validation samples, in order."""
        return self._in_order(self.split.val)

    def calibration(self) -> Iterator[Batch]:
        """Training samples for batch norm's statistics, as validation has them: the same ones in each epoch."""
        ids, size = self.split.train, self.stages[-1].batch_size
        whole = min(len(ids), SAMPLES) // size * size
        return self._in_order(ids, (whole or min(len(ids), size)) / len(ids))

    def samples(self, ids: tuple[str, ...]) -> QuartetDataset:
        """These samples as validation has them: not augmented, at the last stage's size, from the same cache."""
        return self._dataset(ids, self.stages[-1].height_width)

    def preload(self, progress: Callable[[int, int], None]) -> None:
        """Fill the cache at the sizes of all stages.

        It is filled in advance because loader processes would decode missing samples anew in every epoch.

        Raises:
            DataError: A sample cannot be read.
        """
        if self.cache == "disk":
            for size in {stage.height_width for stage in self.stages}:
                self._pack(size, progress)
        if self.cache == "memory":
            for size in dict.fromkeys(stage.height_width for stage in self.stages):
                self._dataset(self.split.train, size).preload(progress)
            self._dataset(self.split.val, self.stages[-1].height_width).preload(progress)

    @cached_property  # computed once, because the cache itself reduces the free memory
    def cache(self) -> Literal["memory", "disk", "none"]:
        """Where decoded samples are kept."""
        if self.config.cache != "auto":
            return self.config.cache
        sizes = {stage.height_width for stage in self.stages}
        if self.index.pack is not None and sizes == {self.index.pack.size}:
            return "none"  # the operating system caches the file
        wanted = len(self.index.samples) * sum(height * width for height, width in sizes) * BYTES_PER_PIXEL
        if wanted < psutil.virtual_memory().available * MEMORY_SHARE:
            return "memory"
        epochs = {size: sum(s.epochs for s in self.stages if s.height_width == size) for size in sizes}
        pays = min(epochs.values()) >= PACK_PAYS_FROM and self.index.pack is None
        self.packs.mkdir(parents=True, exist_ok=True)
        return "disk" if pays and wanted < shutil.disk_usage(self.packs).free / 2 else "none"

    @property
    def workers(self) -> int:
        """The number of loader processes."""
        if self.config.workers != "auto":
            return self.config.workers
        busy = self.device_config.device.type == "cpu"  # the cores are busy with training
        light = self.cache == "memory" and (busy or self.augment.where == "device" or not self.augment.steps)
        return 0 if light else min(LOADERS_AT_MOST, cores())

    @cached_property  # computed once, before the first process starts
    def _shared(self) -> bool:
        """Whether shared memory has room for the prefetched batches of the loader processes, and one in use."""
        largest = max(stage.batch_size * math.prod(stage.height_width) for stage in self.stages) * BYTES_PER_PIXEL
        wanted, free = (AHEAD * self.workers + 1) * largest, shared_memory()
        if not self.workers or free is None or wanted <= free:
            return True
        log.warning(
            "%s has %.1f MB free, but data.workers=%d want %.1f MB for their batches, which go through pipes instead: "
            "slower, but safe. Give it more (docker run --shm-size), or take fewer workers.",
            SHARED_MEMORY,
            free / 2**20,
            self.workers,
            wanted / 2**20,
        )
        return False

    @property
    def _options(self) -> LoaderOptions:
        return LoaderOptions(self.workers, pin_memory=self.device_config.device.type == "cuda", shared=self._shared)

    def _augments(
        self,
    ) -> tuple[Callable[[Quartet, int], Quartet] | None, Callable[[Batch, int], Batch] | None]:
        """The augmentation of single samples in the loader, and that of batches on the device."""
        steps = [step.bind()() for step in self.augment.steps]
        if not steps:
            return None, None
        if self.augment.where == "device":
            from dmx.data.augment.device import make_batch_augment

            return None, make_batch_augment(steps, self.index.depth)
        from dmx.data.augment.cpu import make_augment  # here, as importing albumentations takes 5 s

        return make_augment(steps, self.index.depth), None

    def _in_order(self, ids: tuple[str, ...], fraction: float = 1.0) -> Iterator[Batch]:
        sampling = Sampling(self.stages[-1].batch_size, self.seed, train_fraction=fraction)
        return self._on_device(make_loader(self.samples(ids), sampling, options=self._options))

    def _on_device(self, loader: DataLoader[HostBatch]) -> Iterator[Batch]:
        """The batches of a loader, moved to the device.

        Raises:
            DataError: A sample cannot be read; the loader process's message without its traceback.
            MachineError: A loader process died.
        """
        try:
            for host in attended(loader):
                yield host.to(self.device_config.device, self.device_config.memory_format)
        except DataError as error:
            raise DataError(str(error).rpartition("DataError: ")[2].strip()) from None

    def _dataset(self, ids: tuple[str, ...], size: tuple[int, int]) -> QuartetDataset:
        root = self._pack(size) if self.cache == "disk" else self.index.root
        return opened(root, self.index.stamp, ids, size, memory=self.cache == "memory")

    def _pack(self, size: tuple[int, int], progress: Callable[[int, int], None] | None = None) -> Path:
        """The pack of that size, created if it is missing."""
        folder = self.packs / f"{self.fingerprint[:16]}-{self.index.stamp[:8]}-{size[0]}x{size[1]}-v{VERSION}"
        if not folder.exists():
            self.packs.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.with_suffix(".lock")):  # waits if another run is creating it
                pack(self.index, folder, size=size, progress=progress)
        return folder
