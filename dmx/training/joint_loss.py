"""From a prediction to the losses of the tasks."""

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dmx.quartet import Batch, Prediction
from dmx.weighting.kinds import GradientWeighting, LossWeighting

Loss = Callable[[Prediction, Batch], Float[Tensor, ""]]
Term = tuple[str, float, Loss]
Weighting = LossWeighting | GradientWeighting


class JointLoss(nn.Module):
    """The losses of each task, and the weighting that makes them one: L_task = Σ_i w_i L_i.

    Args:
        mask: Losses of the mask: name, weight, function.
        depth: Losses of the depth, likewise.
        weighting: Makes the losses of the tasks, or their gradients, one.

    Raises:
        ValueError: Two losses of a task have one name, by which the record would keep one of them only.
    """

    def __init__(
        self, mask: Sequence[Term], depth: Sequence[Term], weighting: LossWeighting | GradientWeighting
    ) -> None:
        super().__init__()
        self.terms: Mapping[str, Sequence[Term]] = {"mask": tuple(mask), "depth": tuple(depth)}
        self.weighting = weighting
        for task, terms in self.terms.items():
            names = [name for name, _, _ in terms]
            if len(set(names)) < len(names):
                raise ValueError(f"two losses of `{task}` have one name ({', '.join(names)}); give each its own.")

    def forward(
        self, prediction: Prediction, batch: Batch
    ) -> tuple[dict[str, Float[Tensor, ""]], dict[str, Float[Tensor, ""]]]:
        """The loss of each task; and for the record, by name, the same and, where a task has several, each of those."""
        parts: dict[str, Tensor] = {}
        tasks: dict[str, Tensor] = {}
        for task, terms in self.terms.items():
            values = {name: loss(prediction, batch) for name, _, loss in terms}
            tasks[task] = torch.stack([weight * values[name] for name, weight, _ in terms]).sum()
            parts[f"loss/{task}"] = tasks[task].detach()
            if len(terms) > 1:
                parts |= {f"loss/{task}/{name}": value.detach() for name, value in values.items()}
        return tasks, parts
