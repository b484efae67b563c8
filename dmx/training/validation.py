"""Validation: every sample once, every metric of the data set's depth kind, one picture."""

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import UInt8
from torch import nn

from dmx.metrics import Evaluator
from dmx.quartet import Batch, DepthSpec
from dmx.tracking.panel import panel
from dmx.training.execution import Execution
from dmx.training.step import DivergedError


@torch.no_grad()
def validate(
    model: nn.Module, batches: Iterable[Batch], spec: DepthSpec, execution: Execution
) -> tuple[dict[str, float | None], UInt8[np.ndarray, "H W 3"]]:
    """The metrics of `model` over all `batches`, and a panel of the first samples.

    Raises:
        DivergedError: A prediction is not finite. It is never repaired.
    """
    was_training = model.training
    model.eval()
    evaluator = Evaluator(spec)
    picture: np.ndarray | None = None
    finite = torch.ones(2, dtype=torch.bool, device=execution.device)
    for batch in batches:
        with execution.autocast():
            prediction = model(batch.image, batch.background)
        finite &= torch.stack([prediction.mask_logits.isfinite().all(), prediction.depth.isfinite().all()])
        evaluator.update(prediction, batch)
        if picture is None:
            picture = panel(batch, prediction, spec)
    model.train(was_training)
    for name, good in zip(("prediction.mask_logits", "prediction.depth"), finite.tolist(), strict=True):
        if not good:
            raise DivergedError(f"{name} is not finite in validation")
    assert picture is not None  # a split has at least one sample
    return evaluator.compute(), picture
