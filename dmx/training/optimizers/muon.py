"""Muon: steps whose matrix has been made orthogonal.

As its authors advise, it is for the kernels and matrices of hidden layers alone: AdamW, with the same learning rate,
learns the first layers and the last ones, biases, norms and embeddings (`hidden_layers`, see `dmx.training.groups`).
Deviations, all timm's: that AdamW has Nesterov's momentum (NAdamW); it also learns what is hardly a matrix, as kernels
of one channel, with a side below 4, or 128 times as long as wide; and the five Newton-Schulz steps have coefficients of
their own each, which come nearer to an orthogonal matrix than the authors' one set of them.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch.optim.optimizer import ParamsT

from dmx.registry import Range, optimizers
from dmx.training.optimizers.common import AdaptiveRate, DecoupledDecay, by_timm


@optimizers.register("muon", source="Jordan et al. 2024, Liu et al. 2025 (scale); timm.optim.Muon", hidden_layers=True)
def muon(
    parameters: ParamsT,
    *,
    lr: AdaptiveRate = 2e-3,
    momentum: Annotated[float, Field(ge=0, lt=1), Range(0.8, 0.98)] = 0.95,
    weight_decay: DecoupledDecay = 0.0,
) -> torch.optim.Optimizer:
    """Momentum made orthogonal, hidden layer by hidden layer; AdamW for the first and last layers, biases and norms.

    Args:
        parameters: What is learned.
        lr: Learning rate, of AdamW's size: steps are scaled to the length of its steps.
        momentum: The share of the last step that goes on.
        weight_decay: The share of the weights that each step of learning rate 1 takes away.
    """
    return by_timm("Muon", parameters, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=True)
