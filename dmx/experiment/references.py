"""References: trivial predictors from the training part, computed once for all runs on the same data and split.

    mean_map               the mean of the known training depths at each pixel; the global mean where none is known
    global_mean            their mean over all pixels
    global_median          their median over all pixels
    mean_mask              the mean of the training masks at each pixel; as a mask where it is above a threshold
    background_difference  max over RGB of |image - background|; a mask where it is above a threshold

Each threshold is that of the best pooled IoU on training, a multiple of 1/300. Training is read up to `MOST` samples,
evenly spread over its sorted ids.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from jaxtyping import Bool, Float64
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from torch import Tensor

from dmx.data.dataset import QuartetDataset, collate
from dmx.data.layout import DatasetIndex
from dmx.data.split import Split
from dmx.errors import UserError
from dmx.machine import cores
from dmx.metrics import Evaluator, Probabilities, ReferenceMaps, higher_is_better
from dmx.metrics.pixels import DepthPixels, MaskPixels
from dmx.metrics.probabilities import BINS
from dmx.quartet import Batch, DepthSpec
from dmx.results.references import Known, digest, key_of, read_known
from dmx.sample_table import SampleTable
from dmx.stored import intact, make_folder, replace_bytes, replace_text
from dmx.tracking.home import REFERENCES, Home

CPU = torch.device("cpu")
MOST = 2000
"""Most training samples that are read."""
MOST_DEPTHS = 2**24
"""Most depths that the median is of; of more, every second, third, ... is taken."""
CHUNK = 16
"""Samples that are decoded at a time."""
MAPS = "maps.safetensors"
QUIET_SECONDS = 2.0
"""Progress is shown after this time."""
Opener = Callable[[tuple[str, ...]], QuartetDataset]
Progress = Callable[[int, int], None]
Plane = Float64[Tensor, "B 1 H W"]


@dataclass(frozen=True)
class Predictors:
    """The references as predictors, on the CPU; what was not known of any training sample is None.

    Attributes:
        maps: The mean depth map and the mean mask.
        mean: The global mean depth.
        median: The global median depth.
        mask_threshold: The threshold of the mean mask.
        difference_threshold: The threshold of the background difference, as a share of full scale.
    """

    maps: ReferenceMaps
    mean: float | None
    median: float | None
    mask_threshold: float | None
    difference_threshold: float | None

    def depths(self, batch: Batch) -> dict[str, Plane]:
        """Each reference's depth of a batch."""
        found: dict[str, Plane] = {}
        if self.maps.depth is not None:
            found["mean_map"] = self.maps.depth.to(batch.depth.device).expand(len(batch), -1, -1, -1)
        for name, value in (("global_mean", self.mean), ("global_median", self.median)):
            if value is not None:
                found[name] = torch.full_like(batch.depth, value, dtype=torch.float64)
        return found

    def masks(self, batch: Batch) -> dict[str, tuple[Plane, Plane]]:
        """Each reference's probability and mask of a batch."""
        found: dict[str, tuple[Plane, Plane]] = {}
        if self.maps.mask is not None and self.mask_threshold is not None:
            p = self.maps.mask.to(batch.mask.device).expand(len(batch), -1, -1, -1)
            found["mean_mask"] = p, (p > self.mask_threshold).double()
        if batch.background is not None and self.difference_threshold is not None:
            hard = (difference(batch) > self.difference_threshold).double()
            found["background_difference"] = hard, hard
        return found


def difference(batch: Batch) -> Plane:
    """The largest absolute difference of image and background over the colours, in [0, 1]."""
    assert batch.background is not None
    return (batch.image.double() - batch.background.double()).abs().amax(1, keepdim=True)


class Judge:
    """Evaluates the references on samples, each with the metrics of its task."""

    def __init__(self, predictors: Predictors, spec: DepthSpec, *, thorough: bool = False) -> None:
        self.predictors, self.spec, self.thorough = predictors, spec, thorough
        self.evaluators: dict[str, Evaluator] = {}

    def take(self, batch: Batch) -> None:
        """Add a batch."""
        if batch.depth.is_mps:  # MPS has no float64
            batch = batch.to(CPU)
        maps = self.predictors.maps.to(batch.depth.device)
        t, g = batch.depth.double(), batch.mask.double()
        for name, y in self.predictors.depths(batch).items():
            self._of(name, "depth").add(batch.ids, depth=DepthPixels(y, t, batch.valid, maps.depth))
        for name, (p, hard) in self.predictors.masks(batch).items():
            self._of(name, "mask").add(batch.ids, mask=MaskPixels(p, hard, g, batch.mask_valid, maps.mask))

    def values(self) -> dict[str, dict[str, float | None]]:
        """Each reference's metrics by full name."""
        return {name: evaluator.compute() for name, evaluator in self.evaluators.items()}

    def samples(self, groups: Mapping[str, str]) -> dict[str, SampleTable]:
        """Each reference's metrics of each sample."""
        return {name: evaluator.samples(groups) for name, evaluator in self.evaluators.items()}

    def _of(self, name: str, task: str) -> Evaluator:
        return self.evaluators.setdefault(name, Evaluator(self.spec, thorough=self.thorough, task=task))


@dataclass
class Sums:
    """What is added up over the training samples."""

    depth: Tensor | float = 0.0
    depths: Tensor | float = 0.0
    mask: Tensor | float = 0.0
    masks: Tensor | float = 0.0
    values: list[Float64[np.ndarray, "N"]] = field(default_factory=list)
    differences: list[Probabilities] = field(default_factory=list)

    def take(self, batch: Batch, step: int) -> None:
        """Add a batch; of its known depths every `step`-th is kept for the median."""
        self.depth = self.depth + torch.where(batch.valid, batch.depth.double(), 0).sum(0, keepdim=True)
        self.depths = self.depths + batch.valid.sum(0, keepdim=True)
        self.mask = self.mask + torch.where(batch.mask_valid, batch.mask.double(), 0).sum(0, keepdim=True)
        self.masks = self.masks + batch.mask_valid.sum(0, keepdim=True)
        self.values.append(batch.depth[batch.valid][::step].double().numpy())
        if batch.background is not None:
            self.differences.append(histogram(difference(batch), batch.mask, batch.mask_valid))

    def predictors(self) -> Predictors:
        """The references that follow."""
        values = np.concatenate(self.values)
        depth, mean = mean_map(self.depth, self.depths)
        mask, _ = mean_map(self.mask, self.masks)
        apart = sum(self.differences[1:], self.differences[0]).best_threshold if self.differences else None
        return Predictors(
            maps=ReferenceMaps(depth, mask),
            mean=mean,
            median=float(np.median(values)) if values.size else None,
            mask_threshold=None if mask is None else best_threshold(mask, self.mask, self.masks),
            difference_threshold=apart,
        )


def mean_map(total: Any, count: Any) -> tuple[Plane | None, float | None]:
    """The mean at each pixel, the global one where nothing is known, and the global one; None without any."""
    if not int(count.sum()):
        return None, None
    mean = float(total.sum() / count.sum())
    return torch.where(count > 0, total / count.clamp(min=1), mean), mean


def histogram(p: Plane, mask: Tensor, known: Bool[Tensor, "B 1 H W"]) -> Probabilities:
    """The histogram of a probability over object and rest."""
    return counted(p[known], (mask[known] > 0.5).double(), torch.ones_like(p[known]))


def counted(p: Tensor, objects: Tensor, pixels: Tensor) -> Probabilities:
    """The histogram of probabilities, each of that many `pixels`, of which `objects` are of the object."""
    bins = (p * BINS).ceil().long().sub(1).clamp(0, BINS - 1)
    counts = torch.zeros(2, BINS, dtype=torch.float64)
    counts[0].index_add_(0, bins, pixels - objects)
    counts[1].index_add_(0, bins, objects)
    mass = torch.zeros(BINS, dtype=torch.float64).index_add_(0, bins, p * pixels)
    return Probabilities(counts.round().long(), mass)


def best_threshold(mask: Plane, objects: Any, count: Any) -> float | None:
    """The threshold of the mean mask with the best pooled IoU on training; None without an object.

    The mean mask is one map for all samples, so its hits at a threshold are the sums of `objects` where it is above.
    """
    return counted(mask.flatten(), objects.double().flatten(), count.double().flatten()).best_threshold


def spread(count: int, most: int = MOST) -> list[int]:
    """The numbers of at most `most` of `count` samples, evenly spread.

    >>> spread(7, 3)
    [0, 3, 6]
    """
    numbers: list[int] = np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(int)).tolist()
    return numbers


def read(samples: QuartetDataset, numbers: Sequence[int], device: torch.device = CPU) -> Iterator[Batch]:
    """These samples, decoded by one thread a core."""
    with ThreadPoolExecutor(cores()) as threads:
        for first in range(0, len(numbers), CHUNK):
            some = [*threads.map(samples.__getitem__, numbers[first : first + CHUNK])]
            yield collate(some).to(device)


@dataclass
class Late:
    """Passes progress on once it has taken a while; the last call says that all is done."""

    progress: Progress
    total: int
    done: int = 0
    shown: bool = False
    begun: float = field(default_factory=time.monotonic)

    def add(self, samples: int) -> None:
        """Count samples."""
        self.done += samples
        self.shown = self.shown or time.monotonic() - self.begun > QUIET_SECONDS
        if self.shown:
            self.progress(self.done, self.total)


@dataclass(frozen=True)
class Source:
    """The samples that references are made from and judged on.

    Attributes:
        index: The data set.
        parts: Its split.
        open: Gives the samples of these ids at the size of validation.
        identity: The identity of the runs, see `identity_of`.
        device: Where the references are evaluated.
    """

    index: DatasetIndex
    parts: Split
    open: Opener
    identity: Mapping[str, Any]
    device: torch.device = CPU

    @property
    def key(self) -> str:
        """The folder's name; the data's stamp is in it, as in the name of everything that is cached from pictures."""
        return f"{key_of(self.identity)}-{digest(self.identity['definitions'])[:8]}-{self.index.stamp[:8]}"


def kept_references(home: Home, source: Source, progress: Progress = lambda done, total: None) -> Predictors:
    """The references of these data, made if they are missing or damaged; other processes wait meanwhile.

    Args:
        home: The results folder.
        source: The data.
        progress: Called with the number of samples done and the total, if it takes more than `QUIET_SECONDS`.

    Raises:
        DataError: A sample cannot be read.
    """
    folder = home.references / source.key
    with suppress(UserError):
        return load_predictors(folder)
    make_folder(home.references)
    with FileLock(home.references / f"{source.key}.lock"):
        with suppress(UserError):  # another process has made them
            return load_predictors(folder)
        return made(folder, source, progress)


def load_predictors(folder: Path) -> Predictors:
    """Load the predictors.

    Raises:
        UserError: They are missing or damaged.
    """
    found, path = read_known(folder), folder / MAPS
    with intact(path, "it is made anew"):
        maps = {name: torch.from_numpy(array) for name, array in load_arrays(path.read_bytes()).items()}
        predictors = Predictors(ReferenceMaps(maps.get("depth"), maps.get("mask")), **found.constants)
        for name in found.values:
            SampleTable.load(folder / f"{name}.parquet")
        return predictors


def made(folder: Path, source: Source, progress: Progress) -> Predictors:
    """Compute and store the references."""
    parts, spec = source.parts, source.index.depth
    numbers = spread(len(parts.train))
    late, sums = Late(progress, len(numbers) + len(parts.val)), Sums()
    training = source.open(parts.train)
    height, width = training.size
    step = max(1, -(-len(numbers) * height * width // MOST_DEPTHS))
    for batch in read(training, numbers):
        sums.take(batch, step)
        late.add(len(batch))
    predictors = sums.predictors()
    judge = Judge(predictors, spec)
    for batch in read(source.open(parts.val), range(len(parts.val)), source.device):
        judge.take(batch)
        late.add(len(batch))
    keep(folder, predictors, judge, source, len(numbers))
    return predictors


def keep(folder: Path, predictors: Predictors, judge: Judge, source: Source, samples: int) -> None:
    """Write the maps, the tables of validation samples, and last the numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / REFERENCES).unlink(missing_ok=True)
    maps = {name: map.numpy() for name, map in vars(predictors.maps).items() if map is not None}
    replace_bytes(folder / MAPS, save_arrays(maps))
    wanted = {*source.parts.val}
    for name, table in judge.samples({s.id: s.group for s in source.index.samples if s.id in wanted}).items():
        table.save(folder / f"{name}.parquet")
    constants = {name: value for name, value in vars(predictors).items() if name != "maps"}
    values = judge.values()
    known = Known(
        made_from=samples,
        training=len(source.parts.train),
        constants=constants,
        values=values,
        definitions=source.identity["definitions"],
        higher_is_better={metric: higher_is_better(metric) for each in values.values() for metric in each},
    )
    replace_text(folder / REFERENCES, json.dumps(known.model_dump(), indent=1))
