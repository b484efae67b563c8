"""The optimizers of torch.optim, with the ranges that suit each.

Weight decay starts at 0, as in torch, but for AdamW, which is named for it.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch.optim.optimizer import ParamsT

from dmx.registry import Range, optimizers

Beta = Annotated[float, Field(ge=0, lt=1)]
Momentum = Annotated[float, Field(ge=0, lt=1), Range(0.0, 0.98)]
AdaptiveRate = Annotated[float, Field(gt=0, le=10), Range(1e-5, 1e-2, log=True)]
GradientRate = Annotated[float, Field(gt=0, le=10), Range(1e-4, 1.0, log=True)]
WeightDecay = Annotated[float, Field(ge=0, le=1), Range(1e-6, 1e-2, log=True)]
DecoupledDecay = Annotated[float, Field(ge=0, le=1), Range(1e-4, 0.3, log=True)]


@optimizers.register("sgd", source="Sutskever et al. 2013; torch.optim.SGD")
def sgd(
    parameters: ParamsT,
    *,
    lr: GradientRate = 0.01,
    momentum: Momentum = 0.9,
    weight_decay: WeightDecay = 0.0,
    nesterov: bool = False,
) -> torch.optim.Optimizer:
    """Stochastic gradient descent with momentum.

    Args:
        parameters: What is learned.
        lr: Learning rate.
        momentum: The share of the last step that goes on.
        weight_decay: L2 penalty, added to the gradient.
        nesterov: Look ahead along the momentum; without momentum it changes nothing.
    """
    return torch.optim.SGD(
        parameters, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov and momentum > 0
    )


@optimizers.register("adam", source="Kingma and Ba 2015; torch.optim.Adam")
def adam(
    parameters: ParamsT,
    *,
    lr: AdaptiveRate = 1e-3,
    beta1: Beta = 0.9,
    beta2: Beta = 0.999,
    weight_decay: WeightDecay = 0.0,
) -> torch.optim.Optimizer:
    """Adam: steps scaled by running means of gradient and squared gradient.

    Args:
        parameters: What is learned.
        lr: Learning rate.
        beta1: Memory of the gradient.
        beta2: Memory of the squared gradient.
        weight_decay: L2 penalty, added to the gradient.
    """
    return torch.optim.Adam(parameters, lr=lr, betas=(beta1, beta2), weight_decay=weight_decay)


@optimizers.register("adamw", source="Loshchilov and Hutter 2019; torch.optim.AdamW")
def adamw(
    parameters: ParamsT,
    *,
    lr: AdaptiveRate = 1e-3,
    beta1: Beta = 0.9,
    beta2: Beta = 0.999,
    weight_decay: DecoupledDecay = 0.01,
) -> torch.optim.Optimizer:
    """Adam with weight decay apart from the gradient.

    Args:
        parameters: What is learned.
        lr: Learning rate.
        beta1: Memory of the gradient.
        beta2: Memory of the squared gradient.
        weight_decay: The share of the weights that each step of learning rate 1 takes away.
    """
    return torch.optim.AdamW(parameters, lr=lr, betas=(beta1, beta2), weight_decay=weight_decay)


@optimizers.register("rmsprop", source="Hinton 2012, lecture 6e; torch.optim.RMSprop")
def rmsprop(
    parameters: ParamsT,
    *,
    lr: AdaptiveRate = 1e-3,
    alpha: Beta = 0.99,
    momentum: Momentum = 0.0,
    weight_decay: WeightDecay = 0.0,
) -> torch.optim.Optimizer:
    """RMSprop: steps scaled by a running mean of the squared gradient.

    Args:
        parameters: What is learned.
        lr: Learning rate.
        alpha: Memory of the squared gradient.
        momentum: The share of the last step that goes on.
        weight_decay: L2 penalty, added to the gradient.
    """
    return torch.optim.RMSprop(parameters, lr=lr, alpha=alpha, momentum=momentum, weight_decay=weight_decay)


@optimizers.register("nadam", source="Dozat 2016; torch.optim.NAdam")
def nadam(
    parameters: ParamsT,
    *,
    lr: AdaptiveRate = 2e-3,
    beta1: Beta = 0.9,
    beta2: Beta = 0.999,
    weight_decay: WeightDecay = 0.0,
) -> torch.optim.Optimizer:
    """Adam with Nesterov's momentum.

    Args:
        parameters: What is learned.
        lr: Learning rate.
        beta1: Memory of the gradient.
        beta2: Memory of the squared gradient.
        weight_decay: L2 penalty, added to the gradient.
    """
    return torch.optim.NAdam(parameters, lr=lr, betas=(beta1, beta2), weight_decay=weight_decay)
