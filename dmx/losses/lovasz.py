"""Lovász hinge: the convex surrogate of intersection over union.

Source: Berman et al. 2018, "The Lovász-Softmax loss: a tractable surrogate for the optimization of the
intersection-over-union measure in neural networks", section 2 and Algorithm 1.
Equation: m_i = max(1 - z_i s_i, 0) with s_i = 1 on the object, else -1; the errors sorted, greatest first, are weighted
by what each adds to the Jaccard loss: L = Σ m_π(i) (J_i - J_(i-1)), J_i = 1 - (G - Σ_(k≤i) g_π(k)) / (G + Σ_(k≤i)
(1 - g_π(k))), with G = Σ g. For each sample, the mean over samples that have known pixels.
Deviations: none; unknown pixels are sorted behind all known ones, where they have no effect. Implemented here, because
segmentation-models-pytorch's fails in float64 and includes samples without known pixels, and kornia's does not support
unknown pixels.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from dmx.losses.masked import mask_pair, masked_mean
from dmx.quartet import Batch, Prediction
from dmx.registry import mask_losses


@mask_losses.register("lovasz", source="Berman et al. 2018, Algorithm 1")
def lovasz(prediction: Prediction, batch: Batch) -> Float[Tensor, ""]:
    """Lovász hinge: each pixel's error counts by what mending it gains in intersection over union. 0 or more.

    Args:
        prediction: What the network says.
        batch: What is true.
    """
    z, g, valid = mask_pair(prediction, batch)
    errors = torch.where(valid, 1 - z * (2 * g - 1), -torch.inf).flatten(1)
    errors, order = errors.sort(dim=1, descending=True, stable=True)
    g = g.flatten(1).gather(1, order)
    G = g.sum(1, keepdim=True)
    J = 1 - (G - g.cumsum(1)) / (G + (1 - g).cumsum(1))
    gain = J.diff(dim=1, prepend=torch.zeros_like(G))
    return masked_mean((errors.relu() * gain).sum(1), valid.flatten(1).any(1))
