"""From the losses of the tasks to the gradients of the parameters.

A weighting by losses gives one total loss for a single backward pass. A weighting by gradients computes weights α from
the inner products <g_s, g_t> (the Gram matrix) of the task gradients g_t on the shared parameters, which then get the
gradient Σ_t α_t g_t. Task-specific parameters get their own gradient unweighted, as there is nothing to balance, or
α_t g_t if the method weighs whole losses. Where nothing that learns is shared (a frozen encoder with a decoder for each
task), all α are 1.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dmx.models import DepthMaskModel
from dmx.training.distributed import all_reduce_mean, world_size
from dmx.weighting.kinds import GradientWeighting

Features = Sequence[tuple[Tensor, Tensor]]
"""Each feature as the encoder's output and as the decoders' input, which is detached so that gradients stop there."""


def learned_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that require a gradient: not those of frozen or unused parts."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def shared_parameters(model: DepthMaskModel, size: tuple[int, int]) -> tuple[bool, ...]:
    """For each learned parameter, whether both mask and depth depend on it, determined on an empty picture."""
    parameters = learned_parameters(model)
    prediction = model.dry_run(size)
    outputs = (prediction.mask_logits.sum(), prediction.depth.sum())
    reached = [torch.autograd.grad(y, parameters, retain_graph=True, allow_unused=True) for y in outputs]
    return tuple(mask is not None and depth is not None for mask, depth in zip(*reached, strict=True))


def gram(gradients: Sequence[Sequence[Tensor | None]]) -> Float[Tensor, "T T"]:
    """G_st = <g_s, g_t> in float32, of each task's gradients on the same tensors; None is zero."""
    device = next(g.device for task in gradients for g in task if g is not None)
    G = torch.zeros(len(gradients), len(gradients), device=device)
    for s, t in combinations_with_replacement(range(len(gradients)), 2):
        pairs = zip(gradients[s], gradients[t], strict=True)
        products = [(g.float() * h.float()).sum() for g, h in pairs if g is not None and h is not None]
        G[s, t] = G[t, s] = torch.stack(products).sum() if products else 0.0
    return G


def backward(
    losses: Mapping[str, Float[Tensor, ""]],
    weighting: GradientWeighting,
    parameters: Sequence[nn.Parameter],
    shared: Sequence[bool],
    features: Features,
    scaler: torch.amp.GradScaler,
) -> Float[Tensor, ""]:
    """Set the gradient of each parameter, multiplied by the scaler's scale.

    Args:
        losses: The loss of each task.
        weighting: Computes α.
        parameters: All learned parameters.
        shared: For each, whether both tasks depend on it; ignored if there are features.
        features: The features between encoder and decoders, if the weighting takes gradients of features.
        scaler: Prevents underflow of gradients in half precision; its scale is divided out of G.

    Returns:
        Σ_t α_t L_t.
    """
    leaves = [leaf for _, leaf in features]
    sources, tasks = [*parameters, *leaves], list(losses.values())
    gradients = [
        torch.autograd.grad(scaler.scale(L), sources, retain_graph=t + 1 < len(tasks), allow_unused=True)
        for t, L in enumerate(tasks)
    ]
    balanced = [not features and one for one in shared] + [True] * len(leaves)
    if not features:
        all_reduce_mean(g for task in gradients for g in task)
    values = torch.stack([L.detach() for L in tasks])
    all_reduce_mean([values])
    alpha = torch.ones_like(values)
    if any(balanced):
        G = gram([[g for g, use in zip(task, balanced, strict=True) if use] for task in gradients])
        if features:  # each rank has the features of its own samples, which make 1/n of the batch's loss
            all_reduce_mean([G])
            G = G / world_size()
        alpha = weighting(values, G / scaler.get_scale() ** 2)
    combined = [
        _sum(of_tasks, alpha if use or weighting.whole else torch.ones_like(alpha))
        for *of_tasks, use in zip(*gradients, balanced, strict=True)
    ]
    for parameter, gradient in zip(parameters, combined, strict=False):
        parameter.grad = gradient
    if features:
        used = [(f, g) for (f, _), g in zip(features, combined[len(parameters) :], strict=True) if g is not None]
        torch.autograd.backward([f for f, _ in used], [g for _, g in used])
        all_reduce_mean(parameter.grad for parameter in parameters)
    return (alpha * values).sum()


def _sum(gradients: Sequence[Tensor | None], alpha: Float[Tensor, "T"]) -> Tensor | None:
    """Σ_t α_t g_t in the gradients' own dtype; None if no task has a gradient."""
    terms = [a * g for a, g in zip(alpha, gradients, strict=True) if g is not None]
    known = next((g for g in gradients if g is not None), None)
    return None if known is None else torch.stack(terms).sum(0).to(known.dtype)
