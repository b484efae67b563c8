"""The base classes of weightings: by the losses of the tasks, and by the gradients of the tasks.

The state of a weighting is in its parameters and buffers, so that its `state_dict` is enough to resume; random numbers
come from torch's global CPU generator. Only `weights()` synchronizes with the device.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

GradientsOf = Literal["parameters", "features"]
"""What gradients are taken with respect to: the shared parameters, or the shared features."""


class Weighting(nn.Module):
    """The common base class of both kinds.

    Args:
        tasks: The names of the tasks; every list with one value for each task is in this order.

    Attributes:
        divides: Whether a batch's total is the mean of its parts' totals, so that parts can be accumulated.
        logarithmic: Whether it takes logarithms or powers of losses, so that losses below 0 are invalid.
    """

    last: Float[Tensor, "T"]
    divides: bool = False
    logarithmic: bool = False

    def __init__(self, tasks: Sequence[str]) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        self.register_buffer("last", torch.ones(len(self.tasks)))

    def weights(self) -> dict[str, float]:
        """The weight of each task in the last step; before the first step, the initial weights."""
        return dict(zip(self.tasks, self.last.tolist(), strict=True))

    def epoch_ended(self) -> None:
        """Called after each epoch of training."""


class LossWeighting(Weighting):
    """Combines the tasks' losses to a total; a weight is the derivative of the total with respect to a loss."""

    def forward(self, losses: Mapping[str, Tensor]) -> Float[Tensor, ""]:
        """The differentiable total from the loss of each task."""
        raise NotImplementedError

    def stacked(self, losses: Mapping[str, Tensor]) -> Float[Tensor, "T"]:
        """The losses in the order of the tasks."""
        return torch.stack([losses[task] for task in self.tasks])

    def keep(self, weights: Float[Tensor, "T"]) -> None:
        """Remember the weights of this step."""
        self.last.copy_(weights.detach())


class GradientWeighting(Weighting):
    """Computes the weights α of the tasks' gradients: the shared part is updated along d = Σ_t α_t g_t.

    Task-specific parameters are updated along their own gradient, times α_t if the method weighs `whole` losses.

    Every method is algebra on the inner products of the gradients, in float64 if the device supports it. If an inner
    product or loss is not finite, all α are 1 and the weighting's state is not updated, so that finite gradients stay
    finite and non-finite ones remain visible in d.

    Attributes:
        whole: Whether α weighs the whole losses, so that task-specific parameters get α_t g_t, too.
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
        if not gram.is_mps:  # MPS has no float64
            known_L, known_G = known_L.double(), known_G.double()
        alpha = self.solve(known_L, known_G, finite).to(gram.dtype)
        alpha = torch.where(finite, alpha, torch.ones_like(alpha))
        self.last.copy_(alpha)
        return alpha

    def solve(self, L: Float[Tensor, "T"], G: Float[Tensor, "T T"], finite: Bool[Tensor, ""]) -> Float[Tensor, "T"]:
        """The weights α.

        Args:
            L: The loss of each task.
            G: The inner products of the tasks' gradients; L and G are replaced by ones if a value is not finite.
            finite: Whether all values were finite; only then may the state change.
        """
        raise NotImplementedError
