"""Weights from learned uncertainties.

Source: Kendall et al. 2018, "Multi-task learning using uncertainty to weigh losses", eq. 7 and 10.
Equation: L = Σ_t c_t e^(-s_t) L_t + s_t / 2 with s_t = ln σ_t², learned; c = 1 for a classification (the mask's
cross-entropy) and 1/2 for a regression (depth's squared error).
Deviations: the same form whatever the losses are, though it is derived for these two.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dmx.registry import weightings

CLASSIFICATIONS = frozenset({"mask"})


class UncertaintyWeighting(nn.Module):
    """One learned s = ln σ² for each task; all start at 0.

    Args:
        tasks: The names of the tasks.
    """

    def __init__(self, tasks: Sequence[str]) -> None:
        super().__init__()
        self.s = nn.ParameterDict({task: nn.Parameter(torch.zeros(())) for task in tasks})
        self.c = {task: 1.0 if task in CLASSIFICATIONS else 0.5 for task in tasks}

    def forward(self, losses: Mapping[str, Tensor]) -> Float[Tensor, ""]:
        """The one loss from the loss of each task; it may fall below 0."""
        terms = [self.c[task] * (-s).exp() * losses[task] + s / 2 for task, s in self.s.items()]
        return torch.stack(terms).sum()

    def weights(self) -> dict[str, float]:
        """What each task's loss is multiplied by at present, c e^(-s)."""
        return {task: self.c[task] * float((-s.detach()).exp()) for task, s in self.s.items()}


@weightings.register("uncertainty", source="Kendall et al. 2018, eq. 7 and 10")
def uncertainty(tasks: Sequence[str]) -> UncertaintyWeighting:
    """Weights learned as each task's uncertainty, together with the network.

    Args:
        tasks: The names of the tasks.
    """
    return UncertaintyWeighting(tasks)
