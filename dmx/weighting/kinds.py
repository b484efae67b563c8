"""The two kinds of weightings: those that see the losses of the tasks, and those that see the tasks' gradients.

All that a weighting carries from step to step is in its parameters and buffers, so that its state resumes it; what it
draws comes from torch's global generator of the CPU. Nothing here waits for the device but `weights()`.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

GradientsOf = Literal["parameters", "features"]
"""Where the gradients are taken: of the parameters that the tasks share, or of the features that come out of them."""


class Weighting(nn.Module):
    """What both kinds have in common.

    Args:
        tasks: The names of the tasks; every list with one value for each task is in this order.

    Attributes:
        divides: Whether a batch's total is the mean of its parts' totals, so that parts may go through one by one.
        logarithmic: Whether it takes logarithms or powers of losses, so that one below 0 has no weight.
    """

    last: Float[Tensor, "T"]
    divides: bool = False
    logarithmic: bool = False

    def __init__(self, tasks: Sequence[str]) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        self.register_buffer("last", torch.ones(len(self.tasks)))

    def weights(self) -> dict[str, float]:
        """The weight of each task in the last step; before the first, where the weighting starts."""
        return dict(zip(self.tasks, self.last.tolist(), strict=True))

    def epoch_ended(self) -> None:
        """Called after each epoch of training."""


class LossWeighting(Weighting):
    """Makes one loss of the tasks' losses; its weights are the derivatives of that by each loss."""

    def forward(self, losses: Mapping[str, Tensor]) -> Float[Tensor, ""]:
        """The total, to be differentiated, from the loss of each task."""
        raise NotImplementedError

    def stacked(self, losses: Mapping[str, Tensor]) -> Float[Tensor, "T"]:
        """The losses in the order of the tasks."""
        return torch.stack([losses[task] for task in self.tasks])

    def keep(self, weights: Float[Tensor, "T"]) -> None:
        """Remember the weights of this step."""
        self.last.copy_(weights.detach())


class GradientWeighting(Weighting):
    """Computes the weights α of the tasks' gradients: what is shared moves along d = Σ_t α_t g_t.

    What belongs to one task alone moves along its own gradient, or where the method weighs `whole` losses, along α_t
    times that.

    Every method here is algebra on the inner products of the gradients. It is done in float64, where the device has
    it. Where one of the inner products or losses is not finite, all α are 1 and nothing is learned from the step:
    finite gradients stay finite, and the others stay to be seen in d.

    Args:
        tasks: The names of the tasks.
        gradients_of: Where the gradients are taken.

    Attributes:
        whole: Whether α weighs the whole losses, so that what belongs to one task alone gets α_t g_t, too.
    """

    whole: bool = False

    def __init__(self, tasks: Sequence[str], gradients_of: GradientsOf) -> None:
        super().__init__(tasks)
        self.gradients_of: GradientsOf = gradients_of

    @torch.no_grad()
    def forward(self, losses: Float[Tensor, "T"], gram: Float[Tensor, "T T"]) -> Float[Tensor, "T"]:
        """The weights α of this step, detached.

        Args:
            losses: The loss of each task.
            gram: G_st = <g_s, g_t>, the inner products of the tasks' gradients.
        """
        finite = gram.isfinite().all() & losses.isfinite().all()
        known_L = torch.where(finite, losses, torch.ones_like(losses))
        known_G = torch.where(finite, gram, torch.eye(len(gram), dtype=gram.dtype, device=gram.device))
        if not gram.is_mps:  # which has no float64
            known_L, known_G = known_L.double(), known_G.double()
        alpha = self.solve(known_L, known_G, finite).to(gram.dtype)
        alpha = torch.where(finite, alpha, torch.ones_like(alpha))
        self.last.copy_(alpha)
        return alpha

    def solve(self, L: Float[Tensor, "T"], G: Float[Tensor, "T T"], finite: Bool[Tensor, ""]) -> Float[Tensor, "T"]:
        """The weights α.

        Args:
            L: The loss of each task.
            G: The inner products of the tasks' gradients; both are replaced by ones where something is not finite.
            finite: Whether they were finite; only then may the state change.
        """
        raise NotImplementedError
