"""Means over the processes that train one model together; alone, nothing happens."""

from collections.abc import Iterable, Mapping

import torch.distributed as dist
from torch import Tensor


def processes() -> int:
    """How many train this model together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def average(tensors: Iterable[Tensor | None]) -> None:
    """Replace each tensor by its mean over all processes, in place; every process gives the same tensors in order."""
    if processes() > 1:
        for tensor in tensors:
            if tensor is not None:
                dist.all_reduce(tensor)
                tensor.div_(processes())


def agreed(losses: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Losses with the value of all processes' mean and the gradient of this one's, so that weights follow alike."""
    if processes() == 1:
        return losses
    means = {task: L.detach().clone() for task, L in losses.items()}
    average(means.values())
    return {task: L + (means[task] - L.detach()) for task, L in losses.items()}
