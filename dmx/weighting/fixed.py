"""A weighted sum with constant weights."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from dmx.errors import UserError
from dmx.registry import Range, weightings
from dmx.weighting.kinds import LossWeighting

Weight = Annotated[float, Field(ge=0, le=1000), Range(0.1, 10.0, log=True)]


class FixedWeighting(LossWeighting):
    """L = Σ w_t L_t over the tasks t, with constant weights w_t."""

    divides = True

    def __init__(self, constants: Mapping[str, float]) -> None:
        super().__init__(tuple(constants))
        self.constants = dict(constants)
        self.register_buffer("last", self.last, persistent=False)  # constant, so not part of the state

    def forward(self, losses: Mapping[str, Tensor]) -> Float[Tensor, ""]:
        """The weighted sum of the tasks' losses."""
        return torch.stack([w * losses[task] for task, w in self.constants.items()]).sum()

    def weights(self) -> dict[str, float]:
        """The weight of each task."""
        return dict(self.constants)


@weightings.register("fixed", source="Weighted sum", by="losses")
def fixed(tasks: Sequence[str], *, mask: Weight = 1.0, depth: Weight = 1.0) -> FixedWeighting:
    """Constant weights, one for each task.

    Args:
        tasks: The names of the tasks.
        mask: The weight of the mask's loss.
        depth: The weight of the depth's loss.

    Raises:
        UserError: All weights are 0.
    """
    given = {"mask": mask, "depth": depth}
    constants = {task: given[task] for task in tasks}
    if not any(constants.values()):
        raise UserError(
            f"weighting 'fixed' gives weight 0 to {' and '.join(tasks)}, so nothing would be trained; raise one."
        )
    return FixedWeighting(constants)
