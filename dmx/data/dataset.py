"""The samples of one part of a split, at one size, decoded as they are asked for or kept in memory."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from torch import Tensor
from torch.utils.data import Dataset

from dmx.data.layout import DatasetIndex
from dmx.data.reading import read_quartet
from dmx.data.transform import Sample, make_transform
from dmx.data.writing import Progress
from dmx.errors import DataError


class QuartetDataset(Dataset[Sample]):
    """Map-style: number -> `Sample` of `size`, ready for a network.

    With `memory` each sample is decoded, resized and normalised once and kept. That takes 22 bytes a pixel for a sample
    and 12 for each background, which the samples that share it share in memory too: 1,000 samples at 64x64 over 250
    backgrounds take 102 MB. Kept as bytes they would take a third, but to normalise 64 samples at 64x64 through
    albumentations then costs 2 ms a batch (measured), beside 1 ms to stack them.

    A sample is a function of (data set, id, size) alone; what is random later must be one of (seed, epoch, number), so
    that it is the same for any number of workers.

    Args:
        index: The data set.
        ids: Which samples, in which order.
        size: (height, width) that all are brought to.
        memory: Keep what was decoded.

    Raises:
        DataError: An id is not in the data set.
    """

    def __init__(self, index: DatasetIndex, ids: Sequence[str], size: tuple[int, int], *, memory: bool) -> None:
        records = {record.id: record for record in index.samples}
        unknown = [one for one in ids if one not in records]
        if unknown:
            raise DataError(
                f"{index.root}: has no sample '{unknown[0]}' ({len(unknown)} of {len(ids)} ids are unknown); the split "
                "belongs to other data, so make it anew."
            )
        self.index = index
        self.size = size
        self._records = [records[one] for one in ids]
        self._transform = make_transform(size)
        self._memory = memory
        self._kept: dict[int, Sample] = {}
        self._backgrounds: dict[str, Tensor] = {}

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, number: int) -> Sample:
        if (kept := self._kept.get(number)) is not None:
            return kept
        record = self._records[number]
        sample = self._transform(read_quartet(self.index, record))
        if self._memory:
            if record.background is not None and sample.background is not None:
                shared = self._backgrounds.setdefault(record.background, sample.background)
                sample = replace(sample, background=shared)
            self._kept[number] = sample
        return sample

    def preload(self, progress: Progress | None = None) -> None:
        """Decode all samples now, with one thread per core, and keep them; needs `memory`.

        Raises:
            DataError: The first sample, in order, that cannot be read.
        """
        if not self._memory:
            raise ValueError("`preload` keeps samples, but the data set was made with memory=False; make it with True.")
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
            try:
                for done, _ in enumerate(threads.map(self.__getitem__, range(len(self))), start=1):
                    if progress is not None:
                        progress(done, len(self))
            finally:
                threads.shutdown(cancel_futures=True)
