"""Later descendants of Adam, as timm has them."""

from typing import Annotated

import torch
from pydantic import Field
from torch.optim.optimizer import ParamsT

from dmx.registry import optimizers
from dmx.training.optimizers.common import AdaptiveRate, Beta, DecoupledDecay, by_timm


@optimizers.register("adabelief", source="Zhuang et al. 2020; timm.optim.AdaBelief")
def adabelief(
    parameters: ParamsT,
    *,
    lr: AdaptiveRate = 1e-3,
    beta1: Beta = 0.9,
    beta2: Beta = 0.999,
    weight_decay: DecoupledDecay = 0.0,
) -> torch.optim.Optimizer:
    """Adam whose steps are scaled by how far the gradient is from what was expected.

    Args:
        parameters: What is learned.
        lr: Learning rate.
        beta1: Memory of the gradient.
        beta2: Memory of the squared surprise.
        weight_decay: The share of the weights that each step of learning rate 1 takes away.
    """
    return by_timm("AdaBelief", parameters, lr=lr, betas=(beta1, beta2), weight_decay=weight_decay, rectify=False)


@optimizers.register("adamp", source="Heo et al. 2021; timm.optim.AdamP")
def adamp(
    parameters: ParamsT,
    *,
    lr: AdaptiveRate = 1e-3,
    beta1: Beta = 0.9,
    beta2: Beta = 0.999,
    weight_decay: DecoupledDecay = 0.0,
) -> torch.optim.Optimizer:
    """Adam with Nesterov momentum, without the part of a step that only makes scale-invariant weights longer.

    Args:
        parameters: What is learned.
        lr: Learning rate.
        beta1: Memory of the gradient.
        beta2: Memory of the squared gradient.
        weight_decay: The share of the weights that each step of learning rate 1 takes away.
    """
    return by_timm("AdamP", parameters, lr=lr, betas=(beta1, beta2), weight_decay=weight_decay, nesterov=True)


@optimizers.register("adan", source="Xie et al. 2024; timm.optim.Adan")
def adan(
    parameters: ParamsT,
    *,
    lr: AdaptiveRate = 1e-3,
    beta1: Beta = 0.98,
    beta2: Beta = 0.92,
    beta3: Beta = 0.99,
    weight_decay: DecoupledDecay = 0.0,
) -> torch.optim.Optimizer:
    """Adam with Nesterov's momentum from the change of the gradient.

    Args:
        parameters: What is learned.
        lr: Learning rate.
        beta1: Memory of the gradient.
        beta2: Memory of the gradient's change.
        beta3: Memory of the squares.
        weight_decay: The share of the weights that each step of learning rate 1 takes away.
    """
    return by_timm("Adan", parameters, lr=lr, betas=(beta1, beta2, beta3), weight_decay=weight_decay)


@optimizers.register("adopt", source="Taniguchi et al. 2024; timm.optim.Adopt")
def adopt(
    parameters: ParamsT,
    *,
    lr: AdaptiveRate = 1e-3,
    beta1: Beta = 0.9,
    beta2: Beta = 0.9999,
    weight_decay: DecoupledDecay = 0.0,
) -> torch.optim.Optimizer:
    """Adam that scales a gradient by those before it, so that it converges for any beta2.

    Args:
        parameters: What is learned.
        lr: Learning rate.
        beta1: Memory of the gradient.
        beta2: Memory of the squared gradient.
        weight_decay: The share of the weights that each step of learning rate 1 takes away.
    """
    return by_timm("Adopt", parameters, lr=lr, betas=(beta1, beta2), weight_decay=weight_decay, decoupled=True)


@optimizers.register("laprop", source="Ziyin et al. 2020; timm.optim.LaProp")
def laprop(
    parameters: ParamsT,
    *,
    lr: AdaptiveRate = 4e-4,
    beta1: Beta = 0.9,
    beta2: Beta = 0.999,
    weight_decay: DecoupledDecay = 0.0,
) -> torch.optim.Optimizer:
    """Adam that takes the momentum of scaled gradients instead of scaling the momentum.

    Args:
        parameters: What is learned.
        lr: Learning rate.
        beta1: Memory of the scaled gradient.
        beta2: Memory of the squared gradient.
        weight_decay: The share of the weights that each step of learning rate 1 takes away.
    """
    return by_timm("LaProp", parameters, lr=lr, betas=(beta1, beta2), weight_decay=weight_decay)


@optimizers.register("mars", source="Yuan et al. 2024; timm.optim.Mars")
def mars(
    parameters: ParamsT,
    *,
    lr: AdaptiveRate = 3e-3,
    beta1: Beta = 0.9,
    beta2: Beta = 0.99,
    gamma: Annotated[float, Field(ge=0, le=1)] = 0.025,
    weight_decay: DecoupledDecay = 0.0,
) -> torch.optim.Optimizer:
    """AdamW on gradients whose noise is lowered by the change since the last step.

    Args:
        parameters: What is learned.
        lr: Learning rate.
        beta1: Memory of the gradient.
        beta2: Memory of the squared gradient.
        gamma: How much of the change is added.
        weight_decay: The share of the weights that each step of learning rate 1 takes away.
    """
    return by_timm("Mars", parameters, lr=lr, betas=(beta1, beta2), weight_decay=weight_decay, gamma=gamma)
