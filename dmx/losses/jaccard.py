"""Soft Jaccard loss: intersection over union of mask and prediction.

Source: Rahman and Wang 2016, "Optimizing intersection-over-union in deep neural networks for image segmentation".
Equation: I = Σ p g,  U = Σ (p + g - p g) with p = σ(z) over the known pixels of a sample; L = 1 - I / U, the mean over
samples that have known pixels.
Deviations: `smooth` is added to I and U, so that a sample without object and without prediction has I / U = 1.
Implemented here, because segmentation-models-pytorch pools the batch into one sample and gives 0 without an object.
"""

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from dmx.losses.masked import mask_pair, masked_mean
from dmx.quartet import Batch, Prediction
from dmx.registry import mask_losses


@mask_losses.register("jaccard", source="Rahman and Wang 2016")
def jaccard(
    prediction: Prediction, batch: Batch, *, smooth: Annotated[float, Field(gt=0, le=1000)] = 1.0
) -> Float[Tensor, ""]:
    """Soft Jaccard loss: 1 minus intersection over union. In [0, 1]; 0 is perfect.

    Args:
        prediction: What the network says.
        batch: What is true.
        smooth: In pixels; keeps samples without an object defined.
    """
    z, g, valid = mask_pair(prediction, batch)
    p, g = torch.where(valid, z.sigmoid(), 0).flatten(1), g.flatten(1)
    I, U = (p * g).sum(1), (p + g - p * g).sum(1)  # noqa: E741  the paper's symbol
    return masked_mean((U - I) / (U + smooth), valid.flatten(1).any(1))  # = 1 - (I + smooth) / (U + smooth)
