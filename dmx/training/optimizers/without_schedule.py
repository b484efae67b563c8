"""Optimizers that do without a schedule or without a learning rate."""

from contextlib import redirect_stdout
from typing import Annotated

import torch
from pydantic import Field
from torch.optim.optimizer import ParamsT

from dmx.registry import Range, optimizers
from dmx.training.optimizers.common import AdaptiveRate, Beta, DecoupledDecay, GradientRate, WeightDecay

ITS_OWN_AVERAGE = {"schedule": ("constant",), "training.ema_decay": (None,)}
"""A falling rate or a second average would only shorten the average that it makes itself."""
ONE_RATE = {"groups.encoder_lr": (1.0,), "groups.layer_decay": (1.0,)}
"""It learns one rate for all parameters, and refuses groups of several."""


def training(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The schedule-free `optimizer`, ready for steps: between `eval()` and `train()` the weights are their averages."""
    optimizer.train()  # type: ignore[attr-defined]
    return optimizer


@optimizers.register("adamw_schedulefree", source="Defazio et al. 2024; schedulefree", needs=ITS_OWN_AVERAGE)
def adamw_schedulefree(
    parameters: ParamsT,
    *,
    lr: AdaptiveRate = 2.5e-3,
    beta1: Annotated[float, Field(gt=0, lt=1)] = 0.9,
    beta2: Beta = 0.999,
    weight_decay: DecoupledDecay = 0.0,
) -> torch.optim.Optimizer:
    """AdamW that averages its weights so that no schedule is needed; use it with `schedule: constant`.

    Args:
        parameters: What is learned.
        lr: Learning rate.
        beta1: How near the average the gradient is taken.
        beta2: Memory of the squared gradient.
        weight_decay: The share of the weights that each step of learning rate 1 takes away.
    """
    from schedulefree import AdamWScheduleFree

    optimizer: torch.optim.Optimizer = AdamWScheduleFree(
        parameters, lr=lr, betas=(beta1, beta2), weight_decay=weight_decay
    )
    return training(optimizer)


@optimizers.register("sgd_schedulefree", source="Defazio et al. 2024; schedulefree", needs=ITS_OWN_AVERAGE)
def sgd_schedulefree(
    parameters: ParamsT,
    *,
    lr: GradientRate = 0.1,
    momentum: Annotated[float, Field(gt=0, lt=1), Range(0.8, 0.98)] = 0.9,
    weight_decay: WeightDecay = 0.0,
) -> torch.optim.Optimizer:
    """SGD that averages its weights so that no schedule is needed; use it with `schedule: constant`.

    Args:
        parameters: What is learned.
        lr: Learning rate.
        momentum: How near the average the gradient is taken.
        weight_decay: L2 penalty, added to the gradient.
    """
    from schedulefree import SGDScheduleFree

    optimizer: torch.optim.Optimizer = SGDScheduleFree(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay)
    return training(optimizer)


@optimizers.register("prodigy", source="Mishchenko and Defazio 2024; prodigyopt", needs=ONE_RATE)
def prodigy(
    parameters: ParamsT,
    *,
    lr: Annotated[float, Field(gt=0, le=10), Range(0.3, 3.0, log=True)] = 1.0,
    beta1: Beta = 0.9,
    beta2: Beta = 0.999,
    weight_decay: DecoupledDecay = 0.0,
) -> torch.optim.Optimizer:
    """Adam that finds its learning rate by itself.

    Args:
        parameters: What is learned.
        lr: What that learning rate is multiplied by.
        beta1: Memory of the gradient.
        beta2: Memory of the squared gradient.
        weight_decay: The share of the weights that each step of learning rate 1 takes away.
    """
    from prodigyopt import Prodigy

    with redirect_stdout(None):  # it tells everybody how it decays
        optimizer: torch.optim.Optimizer = Prodigy(parameters, lr=lr, betas=(beta1, beta2), weight_decay=weight_decay)
    return optimizer
