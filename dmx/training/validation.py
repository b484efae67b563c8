"""Validation: every sample once, every metric of the data set's depth kind, one picture."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import nn

from dmx.machine import return_memory
from dmx.metrics import NO_REFERENCE, Evaluator, Probabilities, ReferenceMaps
from dmx.quartet import Batch, DepthSpec
from dmx.tracking.panel import panel
from dmx.training.device import DeviceConfig
from dmx.training.step import DivergedError


@torch.no_grad()
def validate(
    model: nn.Module,
    batches: Iterable[Batch],
    spec: DepthSpec,
    device_config: DeviceConfig,
    reference: ReferenceMaps = NO_REFERENCE,
) -> tuple[Evaluator, Probabilities, UInt8[np.ndarray, "H W 3"]]:
    """Metrics of `model` over all `batches`, the histogram of its mask probabilities, and a panel of the first samples.

    Without a `reference` metrics of skill have no value.

    Raises:
        DivergedError: A prediction is not finite.
    """
    was_training = model.training
    model.eval()
    evaluator = Evaluator(spec)
    reference = reference.to(device_config.device)
    spread: list[Probabilities] = []
    picture: np.ndarray | None = None
    finite = torch.ones(2, dtype=torch.bool, device=device_config.device)
    for batch in batches:
        with device_config.autocast():
            prediction = model(batch.image, batch.background)
        finite &= torch.stack([prediction.mask_logits.isfinite().all(), prediction.depth.isfinite().all()])
        evaluator.update(prediction, batch, reference)
        spread.append(Probabilities.of(prediction, batch))
        if picture is None:
            picture = panel(batch, prediction, spec)
    model.train(was_training)
    return_memory()
    for name, good in zip(("prediction.mask_logits", "prediction.depth"), finite.tolist(), strict=True):
        if not good:
            raise DivergedError(f"{name} is not finite in validation")
    assert picture is not None  # a split has at least one sample
    return evaluator, sum(spread[1:], spread[0]), picture


@contextmanager
def averaged_weights(optimizer: Any) -> Iterator[None]:
    """Within the context, schedule-free optimizers expose the averaged weights instead of the training weights.

    Batch norm's statistics are taken anew with them, as the authors advise; see `dmx.training.batch_norm`.
    """
    schedule_free = hasattr(optimizer, "eval")
    if schedule_free:
        optimizer.eval()
    try:
        yield
    finally:
        if schedule_free:
            optimizer.train()
