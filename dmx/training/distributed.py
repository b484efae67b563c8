"""Distributed data-parallel training: each rank trains on its part of every batch.

Rank 0 validates, reports and writes, and broadcasts its results. With a world size of 1 the functions here do nothing.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from dmx.errors import MachineError

T = TypeVar("T")
M = TypeVar("M", bound=nn.Module)
PATIENCE = timedelta(hours=1)
"""Timeout of the other ranks while rank 0 validates; if a process dies, they fail at once."""


@contextmanager
def join_process_group(device: str) -> Iterator[None]:
    """Join the process group of `torchrun`; do nothing without `torchrun`."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    cuda = device in ("auto", "cuda") and torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    import_module("torch.distributed.nn.functional")  # first, or its defaults would keep the group alive
    dist.init_process_group("nccl" if cuda else "gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


def lost_process(error: Exception) -> MachineError | None:
    """Translate torch's error for the loss of another rank.

    Returns:
        The error to raise; None if `error` has another cause.
    """
    text = str(error).partition("\n")[0]
    if world_size() == 1 or not (isinstance(error, dist.DistError) or "gloo" in text):
        return None
    return MachineError(
        f"process {rank()} of the {world_size()} that train together has lost another, whose own message says why "
        f"({text.rpartition('] ')[2] or text}). The same command goes on from the last checkpoint."
    )


def world_size() -> int:
    """The number of processes that train this model; 1 without `torchrun`."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The rank of this process, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def all_reduce_mean(tensors: Iterable[Tensor | None]) -> None:
    """Replace each tensor by its mean over all ranks, in place; all ranks pass the same tensors in the same order."""
    if world_size() > 1:
        known = [tensor for tensor in tensors if tensor is not None]
        for work in [dist.all_reduce(tensor, async_op=True) for tensor in known]:
            work.wait()
        for tensor in known:
            tensor.div_(world_size())


def sync_losses(losses: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Losses with the value of the mean over all ranks and the gradient of this rank's own loss.

    A weighting thus computes the same weights on every rank.
    """
    if world_size() == 1:
        return losses
    means = {task: L.detach().clone() for task, L in losses.items()}
    all_reduce_mean(means.values())
    return {task: L + (means[task] - L.detach()) for task, L in losses.items()}


def any_rank(here: bool) -> bool:
    """Whether `here` is true on any rank; all ranks must call this."""
    if world_size() == 1:
        return here
    found: list[Any] = [None] * world_size()
    dist.all_gather_object(found, here)
    return any(found)


def broadcast_from_rank0(find: Callable[[], T]) -> T:
    """Call `find` on rank 0 and return its result, or raise its error, on every rank."""
    if world_size() == 1:
        return find()
    found: list[Any] = [None, None]
    if rank() == 0:
        try:
            found[0] = find()
        except Exception as error:
            found[1] = error
    dist.broadcast_object_list(found)
    if found[1] is not None:
        raise found[1]
    return found[0]  # type: ignore[no-any-return]  # set by the broadcast


def sync_batch_norm(model: M, device: torch.device) -> M:
    """Convert batch norm to `SyncBatchNorm`, which torch supports on GPUs only; unchanged on a CPU."""
    if world_size() == 1 or device.type != "cuda":
        return model
    converted: M = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    return converted


def seed_by_rank() -> None:
    """Seed torch differently on each rank, so that dropout masks differ."""
    if rank():
        torch.manual_seed(torch.initial_seed() + rank())
