"""Processes that train one model together, each on its part of every batch; alone, nothing happens.

The first one has the records: it validates, reports, and writes; what it finds the others are told.
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
PATIENCE = timedelta(hours=1)
"""So long the others wait for the first, which validates alone; for one that has died nobody waits."""


@contextmanager
def joined(device: str) -> Iterator[None]:
    """Train together with the processes that `torchrun` has started beside this one, if it has."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    cuda = device in ("auto", "cuda") and torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    import_module("torch.distributed.nn.functional")  # first, or its defaults would hold the group beyond its end
    dist.init_process_group("nccl" if cuda else "gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


def lost(error: Exception) -> MachineError | None:
    """What to say where torch tells, in a step of several processes, that another of them is gone."""
    told = str(error).partition("\n")[0]
    if processes() == 1 or not (isinstance(error, dist.DistError) or "gloo" in told):
        return None
    return MachineError(
        f"process {number()} of the {processes()} that train together has lost another, whose own message says why "
        f"({told.rpartition('] ')[2] or told}). The same command goes on from the last checkpoint."
    )


def processes() -> int:
    """How many train this model together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def number() -> int:
    """Which of them this one is."""
    return dist.get_rank() if processes() > 1 else 0


def average(tensors: Iterable[Tensor | None]) -> None:
    """Replace each tensor by its mean over all processes, in place; every process gives the same tensors in order."""
    if processes() > 1:
        known = [tensor for tensor in tensors if tensor is not None]
        for work in [dist.all_reduce(tensor, async_op=True) for tensor in known]:
            work.wait()
        for tensor in known:
            tensor.div_(processes())


def agreed(losses: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Losses with the value of all processes' mean and the gradient of this one's, so that weights follow alike."""
    if processes() == 1:
        return losses
    means = {task: L.detach().clone() for task, L in losses.items()}
    average(means.values())
    return {task: L + (means[task] - L.detach()) for task, L in losses.items()}


def anywhere(here: bool) -> bool:
    """Whether it is so in any of the processes, all of which ask."""
    if processes() == 1:
        return here
    found: list[Any] = [None] * processes()
    dist.all_gather_object(found, here)
    return any(found)


def from_first(find: Callable[[], T]) -> T:
    """What the first process finds, in all of them; an error, too."""
    if processes() == 1:
        return find()
    found: list[Any] = [None, None]
    if number() == 0:
        try:
            found[0] = find()
        except Exception as error:
            found[1] = error
    dist.broadcast_object_list(found)
    if found[1] is not None:
        raise found[1]
    return found[0]  # type: ignore[no-any-return]  # the list has what was found now


def synchronised(model: nn.Module, device: torch.device) -> nn.Module:
    """The model with batch norm over the whole batch, which torch can do on GPUs; elsewhere each process's part."""
    if processes() == 1 or device.type != "cuda":
        return model
    converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    return converted


def draw_apart() -> None:
    """From here on draw other random numbers in each process: dropout must not be alike in all."""
    if number():
        torch.manual_seed(torch.initial_seed() + number())
