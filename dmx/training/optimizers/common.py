"""What optimizers share: legal and searched ranges, and how timm's are built.

The learning rates of a family are searched where that family works: steps scaled to the size of the gradient's history
(`AdaptiveRate`), steps as long as the gradient (`GradientRate`), steps of the gradient's sign (`SignRate`).
"""

from typing import Annotated, Any

from pydantic import Field
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from dmx.registry import Range

Beta = Annotated[float, Field(ge=0, lt=1)]
Momentum = Annotated[float, Field(ge=0, lt=1), Range(0.0, 0.98)]
AdaptiveRate = Annotated[float, Field(gt=0, le=10), Range(1e-5, 1e-2, log=True)]
GradientRate = Annotated[float, Field(gt=0, le=10), Range(1e-4, 1.0, log=True)]
SignRate = Annotated[float, Field(gt=0, le=1), Range(3e-6, 3e-3, log=True)]
WeightDecay = Annotated[float, Field(ge=0, le=1), Range(1e-6, 1e-2, log=True)]
"""Added to the gradient: an L2 penalty."""
DecoupledDecay = Annotated[float, Field(ge=0, le=10), Range(1e-4, 0.3, log=True)]
"""Taken from the weights apart from the gradient, in proportion to the learning rate."""


def by_timm(name: str, parameters: ParamsT, **options: Any) -> Optimizer:
    """The optimizer of timm whose class has this `name`; timm is imported here, for that takes seconds."""
    import timm.optim

    optimizer: Optimizer = getattr(timm.optim, name)(parameters, **options)
    return optimizer
