"""Weights from learned task uncertainties.

Source: Kendall et al. 2018, "Multi-task learning using uncertainty to weigh losses", eq. 7 and 10.
Equation: L = Σ_t c_t e^(-s_t) L_t + s_t / 2 with s_t = ln σ_t², learned; c = 1 for a classification (the mask's
cross-entropy) and 1/2 for a regression (depth's squared error).
Deviations: the same form is used for all losses, although it is derived for these two.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dmx.registry import weightings
from dmx.weighting.kinds import LossWeighting

CLASSIFICATIONS = frozenset({"mask"})


class UncertaintyWeighting(LossWeighting):
    """One learned s = ln σ² for each task; all start at 0."""

    divides = True

    def __init__(self, tasks: Sequence[str]) -> None:
        super().__init__(tasks)
        self.s = nn.ParameterDict({task: nn.Parameter(torch.zeros(())) for task in tasks})
        self.c = {task: 1.0 if task in CLASSIFICATIONS else 0.5 for task in tasks}
        self.keep(torch.tensor(list(self.c.values())))

    def forward(self, losses: Mapping[str, Tensor]) -> Float[Tensor, ""]:
        """The total from the loss of each task; it may fall below 0."""
        s = torch.stack([self.s[task] for task in self.tasks])
        weights = torch.stack([self.c[task] * (-self.s[task]).exp() for task in self.tasks])
        self.keep(weights)
        return (weights * self.stacked(losses) + s / 2).sum()


@weightings.register("uncertainty", source="Kendall et al. 2018, eq. 7 and 10", by="losses")
def uncertainty(tasks: Sequence[str]) -> UncertaintyWeighting:
    """Weights learned as each task's uncertainty, together with the network.

    Args:
        tasks: The names of the tasks.
    """
    return UncertaintyWeighting(tasks)
