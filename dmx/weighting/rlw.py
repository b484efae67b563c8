"""Random loss weighting: new random weights in every step.

Source: Lin et al. 2022, "Reasonable effectiveness of random weighting: a litmus test for multi-task learning".
Equation: L = Σ_t λ_t L_t, λ = softmax(z), z ~ N(0, I), drawn anew in every step.
Deviations: none; of the paper's distributions this is the normal one. The weights sum to 1.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from dmx.registry import weightings
from dmx.weighting.kinds import LossWeighting


class RandomWeighting(LossWeighting):
    """L = Σ_t λ_t L_t with λ from a softmax of normal numbers.

    They come from a separate CPU generator: all ranks and devices with the same seed draw the same weights, and the
    generator's state is part of the checkpoint.
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
        """The state of the generator."""
        return self.generator.get_state()

    def set_extra_state(self, state: Tensor) -> None:
        """Restore the state of the generator."""
        self.generator.set_state(state.cpu())


@weightings.register("rlw", source="Lin et al. 2022", by="losses")
def rlw(tasks: Sequence[str]) -> RandomWeighting:
    """Random weights, new in every step: what any cleverer weighting has to beat.

    Args:
        tasks: The names of the tasks.
    """
    return RandomWeighting(tasks)
