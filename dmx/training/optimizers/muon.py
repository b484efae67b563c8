"""Muon: steps whose matrix has been made orthogonal."""

from typing import Annotated

import torch
from pydantic import Field
from torch.optim.optimizer import ParamsT

from dmx.registry import Range, optimizers
from dmx.training.optimizers.common import AdaptiveRate, DecoupledDecay, by_timm


@optimizers.register("muon", source="Jordan et al. 2024, Liu et al. 2025 (scale); timm.optim.Muon")
def muon(
    parameters: ParamsT,
    *,
    lr: AdaptiveRate = 2e-3,
    momentum: Annotated[float, Field(ge=0, lt=1), Range(0.8, 0.98)] = 0.95,
    weight_decay: DecoupledDecay = 0.0,
) -> torch.optim.Optimizer:
    """Momentum made orthogonal, layer by layer; AdamW for biases and norms.

    Args:
        parameters: What is learned.
        lr: Learning rate, of AdamW's size: steps are scaled to the length of its steps.
        momentum: The share of the last step that goes on.
        weight_decay: The share of the weights that each step of learning rate 1 takes away.
    """
    return by_timm("Muon", parameters, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=True)
