"""From a prediction to the one number that is minimised."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dmx.quartet import Batch, Prediction

Loss = Callable[[Prediction, Batch], Float[Tensor, ""]]
Term = tuple[str, float, Loss]


class JointLoss(nn.Module):
    """The sum of each task's losses, made one by a weighting: L = W(L_mask, L_depth), L_task = sum_i w_i L_i.

    Args:
        mask: Losses of the mask: name, weight, function.
        depth: Losses of the depth, likewise.
        weighting: Takes the losses of the tasks by name and gives the total.
    """

    def __init__(self, mask: Sequence[Term], depth: Sequence[Term], weighting: Any) -> None:
        super().__init__()
        self.terms: Mapping[str, Sequence[Term]] = {"mask": tuple(mask), "depth": tuple(depth)}
        self.weighting = weighting

    def weights(self) -> dict[str, float]:
        """Each task's effective weight."""
        weights: dict[str, float] = self.weighting.weights()
        return weights

    def forward(self, prediction: Prediction, batch: Batch) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """The total, and by name each task's loss and, where a task has several, each of those."""
        parts: dict[str, Tensor] = {}
        tasks: dict[str, Tensor] = {}
        for task, terms in self.terms.items():
            values = {name: loss(prediction, batch) for name, _, loss in terms}
            tasks[task] = torch.stack([weight * values[name] for name, weight, _ in terms]).sum()
            parts[f"loss/{task}"] = tasks[task].detach()
            if len(terms) > 1:
                parts |= {f"loss/{task}/{name}": value.detach() for name, value in values.items()}
        return self.weighting(tasks), parts
