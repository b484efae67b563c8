"""What a network costs, measured on the machine at hand."""

import torch
from torch import Tensor

from dmx.models import DepthMaskModel
from dmx.training.execution import Execution

SECONDS = 0.3
"""How long a latency is measured, after its first call."""
BYTES = 4
"""Of a number in float32."""


def memory_mb(model: DepthMaskModel, size: tuple[int, int], batch_size: int) -> float:
    """MiB that training a batch takes in float32: weights, gradients and what the forward pass keeps for the backward.

    Counted on one sample, so that it is the same on every machine; what the optimizer, kernels and the allocator add is
    not in it.
    """
    kept: dict[int, int] = {}
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)  # else its memory, and so its address, may serve another
        return tensor

    alive: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        prediction = model.look(size)
    del prediction
    weights = sum(parameter.numel() for parameter in model.parameters())
    return (2 * BYTES * weights + batch_size * sum(kept.values())) / 2**20


@torch.no_grad()
def latency_ms(model: DepthMaskModel, size: tuple[int, int], with_background: bool, execution: Execution) -> float:
    """Milliseconds from one picture to its prediction on the device, as trained: the median of many."""
    from torch.utils.benchmark import Timer  # looks for compilers, and says so: only who uses it waits

    model = model.to(execution.device, memory_format=execution.memory_format)  # type: ignore[call-overload]
    was_training = model.training
    model.eval()
    image = torch.zeros(1, 3, *size, device=execution.device).contiguous(memory_format=execution.memory_format)
    timer = Timer(
        "with autocast():\n    model(image, background)",
        globals={
            "autocast": execution.autocast,
            "model": model,
            "image": image,
            "background": image if with_background else None,
        },
        num_threads=torch.get_num_threads(),
    )
    found = timer.blocked_autorange(min_run_time=SECONDS).median * 1000
    model.train(was_training)
    return float(found)
