"""Edge-aware smoothness: depth should change where the picture does.

Source: Godard et al. 2017, "Unsupervised monocular depth estimation with left-right consistency", the disparity
smoothness loss.
Equation: L = mean |∂x y| e^(-α |∂x I|) + mean |∂y y| e^(-α |∂y I|), with |∂ I| the mean over the colours of the image I
in [0, 1] and α = 1.
Deviations: depth in place of disparity; α is a parameter, as colours in [0, 1] rarely differ enough for e^-|∂ I| to be
far from 1; each direction's mean is over its pairs of neighbours with known depth only.
"""

from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from dmx.losses.masked import depth_pair, masked_mean
from dmx.quartet import Batch, Prediction
from dmx.registry import Range, depth_losses


@depth_losses.register("smoothness", source="Godard et al. 2017", kinds=("metric", "relative"), term=True, prior=True)
def smoothness(
    prediction: Prediction,
    batch: Batch,
    *,
    edge: Annotated[float, Field(ge=0, le=1000), Range(1.0, 50.0, log=True)] = 10.0,
) -> Float[Tensor, ""]:
    """Edge-aware smoothness: depth should change only where the picture does. Unit: the depth's; 0 or more.

    It does not look at the true depth, so it is a term beside another loss.

    Args:
        prediction: What the network says.
        batch: The image, and where depth is known.
        edge: α, how readily an edge of the picture allows one of depth; 0 is plain smoothness, 1 the paper's.
    """
    y, _, valid = depth_pair(prediction, batch)
    image = batch.image.to(y.dtype)
    L = y.new_zeros(())
    for dim in (-1, -2):
        pairs = valid.narrow(dim, 1, valid.shape[dim] - 1) & valid.narrow(dim, 0, valid.shape[dim] - 1)
        at_edge = image.diff(dim=dim).abs().mean(1, keepdim=True)
        L = L + masked_mean(y.diff(dim=dim).abs() * (-edge * at_edge).exp(), pairs)
    return L
