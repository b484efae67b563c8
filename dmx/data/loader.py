"""Batches in an order that is a function of (seed, epoch), whatever the number of workers.

Loader processes hand a batch over in shared memory where there is room, else through a pipe. What torch does by itself
happens in a thread of the process, where an error loses the batch without a message: the training waits for ever.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import Lock, active_children, connection
from multiprocessing.process import BaseProcess
from threading import Event, Thread
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dmx.data.dataset import AugmentedDataset, QuartetDataset
from dmx.data.processes import cannot_start
from dmx.errors import MachineError
from dmx.machine import deaths_as_meant
from dmx.quartet import HostBatch, Quartet

AHEAD = 2
"""Batches that each loader process makes before they are asked for."""
PATIENCE = 600.0
"""Seconds that a batch may take to come from a loader process that is alive."""
DYING = 5.0
"""Seconds in which a loader process whose connection broke is gone for the system, too."""


@dataclass(frozen=True)
class Sampling:
    """Which samples come in which batch of an epoch: a function of these fields and the number of samples alone.

    No sample is left out. Where `shuffle` (in training) a single one would remain for the last batch, it joins the
    batch before, for batch norm cannot train on one value per channel.

    Attributes:
        batch_size: Samples a batch, of all processes together.
        seed: With `epoch` it determines the order and the augmentation.
        epoch: Which epoch.
        shuffle: Whether the order is a random one; else it is that of the data set.
        train_fraction: The share of the samples, in (0, 1], at least two; a smaller one is part of a larger one.
        rank: Which of `world_size` equal parts of each batch; what would be left over is left out.
        world_size: How many processes train together.
        skip: How many batches to leave out at the start: those done before an interruption.
    """

    batch_size: int
    seed: int = 0
    epoch: int = 0
    shuffle: bool = False
    train_fraction: float = 1.0
    rank: int = 0
    world_size: int = 1
    skip: int = 0

    def batches(self, count: int) -> list[list[int]]:
        """The numbers of the samples of each batch, out of `count` samples."""
        chosen = np.arange(count)
        if self.train_fraction < 1:
            chosen = np.random.default_rng(self.seed).permutation(count)
            chosen = np.sort(chosen[: max(2, round(self.train_fraction * count))])
        if self.shuffle:
            chosen = np.random.default_rng((self.seed, self.epoch)).permutation(chosen)
        size, n = self.batch_size, self.world_size
        batches = [chosen[start : start + size].tolist() for start in range(0, len(chosen), size)]
        if self.shuffle and size > 1 and len(batches) > 1 and len(batches[-1]) == 1:
            lone = batches.pop()
            batches[-1] += lone
        if n > 1:
            batches = [batch[self.rank : len(batch) // n * n : n] for batch in batches if len(batch) >= 2 * n]
        return batches[self.skip :]


@dataclass(frozen=True)
class LoaderOptions:
    """How batches come from the disk to the training; they are the same for all options.

    Attributes:
        workers: Processes that read ahead; 0 reads in this one.
        pin_memory: Whether batches come in page-locked memory, for a GPU.
        shared: Whether loader processes try shared memory before a pipe.
    """

    workers: int = 0
    pin_memory: bool = False
    shared: bool = True


IN_THIS_PROCESS = LoaderOptions()


def make_loader(
    dataset: QuartetDataset,
    sampling: Sampling,
    augment: Callable[[Quartet, int], Quartet] | None = None,
    options: LoaderOptions = IN_THIS_PROCESS,
) -> DataLoader[HostBatch]:
    """The batches of one epoch.

    Args:
        dataset: The samples.
        sampling: Which of them come in which batch.
        augment: Changes each sample by chance; None leaves it.
        options: How they are read.
    """
    samples = dataset if augment is None else AugmentedDataset(dataset, augment, sampling.seed, sampling.epoch)
    carry: Callable[[Any], Any] = in_shared_memory if options.shared else Piped
    workers = options.workers
    return DataLoader(
        cast("Dataset[HostBatch]", samples),  # torch has no type for data sets that give whole batches
        batch_sampler=sampling.batches(len(dataset)),
        num_workers=workers,
        collate_fn=carry if workers else as_it_is,
        pin_memory=options.pin_memory,
        prefetch_factor=AHEAD if workers else None,
        timeout=PATIENCE if workers else 0,
        generator=torch.Generator().manual_seed(sampling.seed),  # else each epoch would draw from the global state
    )


def as_it_is(batch: Any) -> Any:
    """What the data sets give is a batch already."""
    return batch


class Piped:
    """A batch that goes through a pipe, byte by byte; it arrives as a `HostBatch`."""

    def __init__(self, batch: HostBatch) -> None:
        self.batch = batch

    def __reduce__(self) -> tuple[Any, ...]:
        parts = {name: part.numpy() if isinstance(part, Tensor) else part for name, part in vars(self.batch).items()}
        return arrived, (parts,)


def arrived(parts: dict[str, Any]) -> HostBatch:
    """The batch from what went through the pipe."""
    tensors = {name: torch.from_numpy(part) for name, part in parts.items() if isinstance(part, np.ndarray)}
    return HostBatch(**{**parts, **tensors})


def in_shared_memory(batch: Any) -> Any:
    """The batch in shared memory; where none is left, as one that goes through a pipe."""
    try:
        for part in vars(batch).values():
            if isinstance(part, Tensor):
                part.share_memory_()  # type: ignore[no-untyped-call]  # torch has no types there
    except RuntimeError:  # "unable to allocate shared memory", whatever the reason
        return Piped(batch)
    return batch


def attended(loader: DataLoader[HostBatch]) -> Iterator[HostBatch]:
    """The batches of a loader; at the end its processes are killed, for one that hangs would keep this one.

    Raises:
        MachineError: A loader process has died, or none gives a batch any more, or none can be started.
    """
    before = set(active_children())
    try:
        if loader.num_workers:
            Lock()  # where there is no room for one, torch would end in an error of its own after ours
        batches = iter(loader)
    except OSError as error:
        raise cannot_start(error, "data.workers=0") from error
    own = set(active_children()) - before
    watch = Watch(own)
    try:
        try:
            yield from watch.over(batches) if own else batches
        except (EOFError, OSError) as error:  # what was about to be handed over went with it, before torch noticed
            with deaths_as_meant():
                cause = ended(own)
            if cause is None:
                raise
            raise no_batch(watch.late or cause) from error
    except RuntimeError as error:  # raised by torch's handler of SIGCHLD wherever we are, above too
        if (cause := cause_by_torch(error)) is None:
            raise
        raise no_batch(watch.late or cause) from error
    finally:
        with deaths_as_meant():
            watch.closed.set()
            for child in own:
                child.kill()
                child.join()


class Watch:
    """Ends loader processes when a batch that is waited for does not come in time.

    torch's own limit ends where a process tells that its batch is there. One that stands still from then on, before it
    has handed over the memory, would be waited for without end; its death wakes us.

    Attributes:
        late: What to say of it, where it was so.
        closed: To be set when the last batch has come.
    """

    def __init__(self, processes: set[BaseProcess]) -> None:
        self.late = ""
        self._processes = processes
        self._due = math.inf
        self.closed = Event()

    def over(self, batches: Iterator[HostBatch]) -> Iterator[HostBatch]:
        """The same batches."""
        Thread(target=self._watch, daemon=True).start()
        while True:
            self._due = time.monotonic() + PATIENCE + DYING
            try:
                batch = next(batches)
            except StopIteration:
                return
            finally:
                self._due = math.inf
            yield batch

    def _watch(self) -> None:
        while not self.closed.wait(1.0):
            if time.monotonic() > self._due:
                self.late = f"DataLoader timed out after {PATIENCE} seconds"
                for process in self._processes:
                    process.kill()
                return


def ended(own: set[BaseProcess]) -> str | None:
    """Which of these loader processes has ended, and how; None where all still live after a while."""
    dead = connection.wait([child.sentinel for child in own], DYING) if own else []
    for child in own:
        if child.sentinel in dead:
            child.join(DYING)
            return f"DataLoader worker (pid {child.pid}) ended with exit code {child.exitcode}"
    return None


def cause_by_torch(error: Exception) -> str | None:
    """What torch says of loader processes ("worker (pid 7) is killed by signal: Killed", "timed out"), if it does."""
    cause = str(error).partition("\n")[0].strip().rstrip(".")
    return cause if cause.startswith("DataLoader ") else None


def gone(error: Exception) -> MachineError | None:
    """The error to raise where torch says, at any moment of the training, that a loader process is gone.

    Returns:
        None where `error` says something else.
    """
    return None if (cause := cause_by_torch(error)) is None else no_batch(cause)


def no_batch(cause: str) -> MachineError:
    """The error for loader processes that are gone."""
    return MachineError(
        f"loader processes give no batch any more ({cause}). If the system has killed one for want of memory, lower "
        "data.workers or the batch size; the same command goes on from the last checkpoint."
    )
