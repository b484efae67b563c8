"""Random loss weighting: new random weights in every step.

Source: Lin et al. 2022, "Reasonable effectiveness of random weighting: a litmus test for multi-task learning".
Equation: L = Σ_t λ_t L_t, λ = softmax(z), z ~ N(0, I), drawn anew in every step.
Deviations: none, of the distributions of the paper the normal one; the weights sum to 1.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from dmx.registry import weightings
from dmx.weighting.kinds import LossWeighting


class RandomWeighting(LossWeighting):
    """L = Σ_t λ_t L_t with λ from a softmax of normal numbers.

    They come from a generator of its own, on the CPU: every process and every device that begins with the same seed
    sees the same weights, and the generator's state is kept with the rest of the run.
    """

    def __init__(self, tasks: Sequence[str]) -> None:
        super().__init__(tasks)
        self.generator = torch.Generator().manual_seed(torch.initial_seed())

    def forward(self, losses: Mapping[str, Tensor]) -> Float[Tensor, ""]:
        """The randomly weighted sum."""
        L = self.stacked(losses)
        z = torch.randn(len(self.tasks), generator=self.generator).to(L.device)
        lam = torch.softmax(z, 0)
        self.keep(lam)
        return (lam * L).sum()

    def get_extra_state(self) -> Tensor:
        """Where the generator is."""
        return self.generator.get_state()

    def set_extra_state(self, state: Tensor) -> None:
        """Go on from there."""
        self.generator.set_state(state.cpu())


@weightings.register("rlw", source="Lin et al. 2022", by="losses")
def rlw(tasks: Sequence[str]) -> RandomWeighting:
    """Random weights, new in every step: what any cleverer weighting has to beat.

    Args:
        tasks: The names of the tasks.
    """
    return RandomWeighting(tasks)
