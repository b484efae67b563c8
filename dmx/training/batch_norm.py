"""Batch norm's statistics for validation: those of training pictures under the current weights.

In training, a batch norm keeps an exponential moving average of the statistics of past steps. After few steps, or while
the weights change fast, this average does not fit the current weights, and validation is noisy. Wu and Johnson 2021,
"Rethinking 'Batch' in BatchNorm", section 3, therefore recompute the statistics (PreciseBN). A moving average of the
weights needs this too: no training step had its activations (Izmailov et al. 2018, "Averaging weights leads to wider
optima", section 3.2).
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from dmx.quartet import Batch
from dmx.training.device import DeviceConfig

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm
SAMPLES = 200
"""Training samples whose statistics are taken, at most."""


@contextmanager
def fresh_statistics(
    model: nn.Module, batches: Callable[[], Iterable[Batch]], device_config: DeviceConfig
) -> Iterator[None]:
    """Within the context, the batch norms of `model` have the mean of the statistics of `batches`.

    Training goes on with the statistics that it had, so that it does not depend on validation. Frozen batch norms and
    networks without any are left as they are.

    Args:
        model: The network; other layers, such as dropout, act as in evaluation.
        batches: Gives the training samples; not called if there is nothing to do.
        device_config: The precision.
    """
    norms = learning_norms(model)
    before = [{name: buffer.clone() for name, buffer in norm.named_buffers()} for norm in norms]
    try:
        if norms:
            take_statistics(model, norms, batches(), device_config)
        yield
    finally:
        for norm, buffers in zip(norms, before, strict=True):
            for name, buffer in norm.named_buffers():
                buffer.copy_(buffers[name])


def learning_norms(model: nn.Module) -> list[BatchNorm]:
    """The batch norms that keep statistics and are not frozen."""
    was_training = model.training
    model.train()
    found = [m for m in model.modules() if isinstance(m, BatchNorm) and m.training and m.track_running_stats]
    model.train(was_training)
    return found


@torch.no_grad()
def take_statistics(
    model: nn.Module, norms: list[BatchNorm], batches: Iterable[Batch], device_config: DeviceConfig
) -> None:
    """Set the statistics of `norms` to their mean over `batches`."""
    was_training, momenta = model.training, [norm.momentum for norm in norms]
    model.eval()
    try:
        for norm in norms:
            norm.train()
            norm.reset_running_stats()
            norm.momentum = None  # the mean of all batches
        for batch in batches:
            with device_config.autocast():
                model(batch.image, batch.background)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        model.train(was_training)
