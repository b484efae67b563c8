"""Adam and its next of kin: steps scaled by running means of gradient and squared gradient."""

from typing import Annotated

import torch
from pydantic import Field
from torch.optim.optimizer import ParamsT

from dmx.registry import Range, optimizers
from dmx.training.optimizers.common import AdaptiveRate, Beta, DecoupledDecay, SignRate, WeightDecay, by_timm


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


@optimizers.register("nadamw", source="Dozat 2016, Loshchilov and Hutter 2019; timm.optim.NAdamW")
def nadamw(
    parameters: ParamsT,
    *,
    lr: AdaptiveRate = 1e-3,
    beta1: Beta = 0.9,
    beta2: Beta = 0.999,
    weight_decay: DecoupledDecay = 0.01,
) -> torch.optim.Optimizer:
    """AdamW with Nesterov's momentum.

    Args:
        parameters: What is learned.
        lr: Learning rate.
        beta1: Memory of the gradient.
        beta2: Memory of the squared gradient.
        weight_decay: The share of the weights that each step of learning rate 1 takes away.
    """
    return by_timm("NAdamW", parameters, lr=lr, betas=(beta1, beta2), weight_decay=weight_decay)


@optimizers.register("radam", source="Liu et al. 2020; torch.optim.RAdam")
def radam(
    parameters: ParamsT,
    *,
    lr: AdaptiveRate = 1e-3,
    beta1: Beta = 0.9,
    beta2: Beta = 0.999,
    weight_decay: WeightDecay = 0.0,
) -> torch.optim.Optimizer:
    """Adam that holds back until its mean of squares can be trusted.

    Args:
        parameters: What is learned.
        lr: Learning rate.
        beta1: Memory of the gradient.
        beta2: Memory of the squared gradient.
        weight_decay: L2 penalty, added to the gradient.
    """
    return torch.optim.RAdam(parameters, lr=lr, betas=(beta1, beta2), weight_decay=weight_decay)


@optimizers.register("adamax", source="Kingma and Ba 2015, section 7.1; torch.optim.Adamax")
def adamax(
    parameters: ParamsT,
    *,
    lr: AdaptiveRate = 2e-3,
    beta1: Beta = 0.9,
    beta2: Beta = 0.999,
    weight_decay: WeightDecay = 0.0,
) -> torch.optim.Optimizer:
    """Adam with the greatest gradient of late in place of the mean of squares.

    Args:
        parameters: What is learned.
        lr: Learning rate.
        beta1: Memory of the gradient.
        beta2: Memory of the greatest gradient.
        weight_decay: L2 penalty, added to the gradient.
    """
    return torch.optim.Adamax(parameters, lr=lr, betas=(beta1, beta2), weight_decay=weight_decay)


@optimizers.register("lamb", source="You et al. 2020; timm.optim.Lamb")
def lamb(
    parameters: ParamsT,
    *,
    lr: AdaptiveRate = 3e-3,
    beta1: Beta = 0.9,
    beta2: Beta = 0.999,
    weight_decay: DecoupledDecay = 0.0,
) -> torch.optim.Optimizer:
    """Adam whose steps are a share of the length of each layer's weights, for large batches.

    Args:
        parameters: What is learned.
        lr: Learning rate.
        beta1: Memory of the gradient.
        beta2: Memory of the squared gradient.
        weight_decay: As in the paper, added to the step before that is scaled.
    """
    return by_timm(
        "Lamb",
        parameters,
        lr=lr,
        betas=(beta1, beta2),
        weight_decay=weight_decay,
        always_adapt=True,
        max_grad_norm=None,
    )


@optimizers.register("lion", source="Chen et al. 2023; timm.optim.Lion")
def lion(
    parameters: ParamsT,
    *,
    lr: SignRate = 1e-4,
    beta1: Beta = 0.9,
    beta2: Beta = 0.99,
    weight_decay: Annotated[float, Field(ge=0, le=100), Range(1e-3, 3.0, log=True)] = 0.0,
) -> torch.optim.Optimizer:
    """Steps of one length, by the sign of a mixture of gradient and momentum.

    Args:
        parameters: What is learned.
        lr: Learning rate; a third to a tenth of Adam's.
        beta1: The momentum's share in that mixture.
        beta2: Memory of the momentum.
        weight_decay: The share of the weights that each step of learning rate 1 takes away.
    """
    return by_timm("Lion", parameters, lr=lr, betas=(beta1, beta2), weight_decay=weight_decay)
