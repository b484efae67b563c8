"""Batches in an order that is a function of (seed, epoch) and independent of the number of workers.

Loader processes pass a batch on in shared memory where there is room, otherwise through a pipe. Torch would share the
memory in a feeder thread, where an error loses the batch without a message and training hangs.
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
"""Batches that each loader process prefetches."""
PATIENCE = 600.0
"""Timeout in seconds for a batch from a loader process that is alive."""
DYING = 5.0
"""Seconds to wait for the exit of a loader process whose connection broke."""


@dataclass(frozen=True)
class Sampling:
    """Which samples form which batch of an epoch: a function of these fields and the number of samples alone.

    No sample is dropped. With `shuffle` (training), a last batch of one sample is merged into the batch before it,
    because batch norm cannot train on one value per channel.

    Attributes:
        batch_size: Global batch size, over all processes.
        seed: Determines the order and the augmentation, together with `epoch`.
        epoch: The epoch's number.
        shuffle: Whether the order is random; otherwise it is that of the data set.
        train_fraction: The share of samples to use, in (0, 1], at least two; a smaller share is a subset of a larger.
        rank: Which of `world_size` equal parts of each batch to take; a remainder is dropped.
        world_size: Number of processes that train together.
        skip: Batches to skip at the start: those done before an interruption.
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
        """Return the sample numbers of each batch, out of `count` samples."""
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
    """How batches are loaded; their contents do not depend on these options.

    Attributes:
        workers: Loader processes; 0 reads in this process.
        pin_memory: Whether batches are in page-locked memory, for a GPU.
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
    """Make the loader of one epoch's batches.

    Args:
        dataset: The samples.
        sampling: Which samples form which batch.
        augment: (quartet, seed) -> augmented quartet; None: no augmentation.
        options: How batches are loaded.
    """
    samples = dataset if augment is None else AugmentedDataset(dataset, augment, sampling.seed, sampling.epoch)
    carry: Callable[[Any], Any] = in_shared_memory if options.shared else Piped
    workers = options.workers
    return DataLoader(
        cast("Dataset[HostBatch]", samples),  # torch has no type for data sets that return whole batches
        batch_sampler=sampling.batches(len(dataset)),
        num_workers=workers,
        collate_fn=carry if workers else as_it_is,
        pin_memory=options.pin_memory,
        prefetch_factor=AHEAD if workers else None,
        timeout=PATIENCE if workers else 0,
        generator=torch.Generator().manual_seed(sampling.seed),  # otherwise each epoch would advance the global state
    )


def as_it_is(batch: Any) -> Any:
    """Collate nothing: the data sets return whole batches."""
    return batch


class Piped:
    """Wrapper that pickles a batch by value, for a pipe; it unpickles as a `HostBatch`."""

    def __init__(self, batch: HostBatch) -> None:
        self.batch = batch

    def __reduce__(self) -> tuple[Any, ...]:
        parts = {name: part.numpy() if isinstance(part, Tensor) else part for name, part in vars(self.batch).items()}
        return arrived, (parts,)


def arrived(parts: dict[str, Any]) -> HostBatch:
    """Rebuild the batch that was sent through a pipe."""
    tensors = {name: torch.from_numpy(part) for name, part in parts.items() if isinstance(part, np.ndarray)}
    return HostBatch(**{**parts, **tensors})


def in_shared_memory(batch: Any) -> Any:
    """Move a batch to shared memory; if none is left, wrap it as `Piped`."""
    try:
        for part in vars(batch).values():
            if isinstance(part, Tensor):
                part.share_memory_()  # type: ignore[no-untyped-call]  # torch has no types there
    except RuntimeError:  # "unable to allocate shared memory", whatever the reason
        return Piped(batch)
    return batch


def attended(loader: DataLoader[HostBatch]) -> Iterator[HostBatch]:
    """Iterate over a loader's batches; at the end its processes are killed, as a hanging one would block our exit.

    Raises:
        MachineError: A loader process has died, timed out or cannot be started.
    """
    before = set(active_children())
    try:
        if loader.num_workers:
            Lock()  # probes for semaphores; without them torch would raise a second error of its own
        batches = iter(loader)
    except OSError as error:
        raise cannot_start(error, "data.workers=0") from error
    own = set(active_children()) - before
    watch = Watch(own)
    try:
        try:
            yield from watch.over(batches) if own else batches
        except (EOFError, OSError) as error:  # a worker died while passing on a batch, before torch noticed
            with deaths_as_meant():
                cause = ended(own)
            if cause is None:
                raise
            raise no_batch(watch.late or cause) from error
    except RuntimeError as error:  # torch's SIGCHLD handler raises this at any point, also in the handler above
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
    """Kills the loader processes when a batch does not arrive in time.

    Torch's own timeout only covers the announcement of a batch. If a process stalls between that and passing on the
    memory, torch waits for ever; killing the process ends the wait.

    Attributes:
        late: The error message after a timeout, else empty.
        closed: To be set after the last batch.
    """

    def __init__(self, processes: set[BaseProcess]) -> None:
        self.late = ""
        self._processes = processes
        self._due = math.inf
        self.closed = Event()

    def over(self, batches: Iterator[HostBatch]) -> Iterator[HostBatch]:
        """Pass on the batches, each under the timeout."""
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
    """Describe which loader process has ended, and its exit code; None if all are alive after `DYING` seconds."""
    dead = connection.wait([child.sentinel for child in own], DYING) if own else []
    for child in own:
        if child.sentinel in dead:
            child.join(DYING)
            return f"DataLoader worker (pid {child.pid}) ended with exit code {child.exitcode}"
    return None


def cause_by_torch(error: Exception) -> str | None:
    """Return torch's message about loader processes ("worker (pid 7) is killed by signal: Killed"), if it is one."""
    cause = str(error).partition("\n")[0].strip().rstrip(".")
    return cause if cause.startswith("DataLoader ") else None


def gone(error: Exception) -> MachineError | None:
    """Convert torch's error about a dead loader process, which may be raised anywhere in training.

    Returns:
        The error to raise; None if `error` is about something else.
    """
    return None if (cause := cause_by_torch(error)) is None else no_batch(cause)


def no_batch(cause: str) -> MachineError:
    """Make the error for dead loader processes."""
    return MachineError(
        f"loader processes give no batch any more ({cause}). If the system has killed one for want of memory, lower "
        "data.workers or the batch size; the same command goes on from the last checkpoint."
    )
