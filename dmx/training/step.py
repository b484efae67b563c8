"""The training step: forward, losses and backward in `Learner.forward_backward`, then `Learner.update`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from dmx.models import DepthMaskModel
from dmx.quartet import Batch, Prediction
from dmx.training.device import DeviceConfig
from dmx.training.distributed import all_reduce_mean, sync_losses
from dmx.training.gradients import Features, backward, learned_parameters
from dmx.weighting.kinds import GradientWeighting, LossWeighting

Forward = Callable[[Tensor, Tensor | None], Prediction]
Loss = Callable[[Prediction, Batch], Float[Tensor, ""]]
Term = tuple[str, float, Loss]


class DivergedError(Exception):
    """A tensor has a NaN or an infinity; the message names it."""


class JointLoss(nn.Module):
    """The losses of each task, L_task = Σ_i w_i L_i, and the weighting that combines the tasks.

    Args:
        mask: Losses of the mask: name, weight, function.
        depth: Losses of the depth, likewise.
        weighting: Combines the losses of the tasks, or their gradients.

    Raises:
        ValueError: Two losses of a task have the same name, so that only one of them would be logged.
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
        """The loss of each task; and the losses to log, by name: these and, if a task has several, each of them."""
        parts: dict[str, Tensor] = {}
        tasks: dict[str, Tensor] = {}
        for task, terms in self.terms.items():
            values = {name: loss(prediction, batch) for name, _, loss in terms}
            tasks[task] = torch.stack([weight * values[name] for name, weight, _ in terms]).sum()
            parts[f"loss/{task}"] = tasks[task].detach()
            if len(terms) > 1:
                parts |= {f"loss/{task}/{name}": value.detach() for name, value in values.items()}
        return tasks, parts


@dataclass(frozen=True)
class Learner:
    """The parts of a training step: model, losses, optimizer and schedule.

    Attributes:
        shared: For each learned parameter of the model, whether both tasks depend on it; for weightings by gradients.
    """

    model: DepthMaskModel
    loss: JointLoss
    optimizer: Optimizer
    schedule: LRScheduler
    scaler: torch.amp.GradScaler
    device_config: DeviceConfig
    clip_norm: float | None
    shared: Sequence[bool] = ()

    def compiled(self) -> Forward:
        """The compiled model, which a weighting by gradients may differentiate once for each task.

        Donated activation buffers allow one backward pass only. They are disabled for all weightings: otherwise torch's
        caches could return a backward graph compiled with them for the same network, with silently wrong gradients.
        """
        torch._functorch.config.donated_buffer = False
        return torch.compile(self.model, dynamic=False)

    def forward_backward(self, batch: Batch, forward: Forward, micro_batches: int = 1) -> dict[str, Float[Tensor, ""]]:
        """Predict, compute the losses and set the gradients of all parameters.

        Gradients are accumulated over the micro-batches, which takes less memory: ∇L = Σ_i n_i/n ∇L_i. This equals the
        batch's gradient except for batch norm, which sees one micro-batch at a time, and for losses that are not means
        over samples.

        Args:
            batch: The samples, on the device.
            forward: The model or its compiled form.
            micro_batches: Number of micro-batches that the batch is split into.

        Returns:
            The losses by name, still on the device.

        Raises:
            DivergedError: The total loss is not finite; checked on a CPU only, since on a GPU it would synchronize.
        """
        self.optimizer.zero_grad(set_to_none=True)
        found: dict[str, Tensor] = {}
        for micro_batch in batch.split(micro_batches):
            share = len(micro_batch) / len(batch)
            with self.device_config.autocast():
                prediction, features = self.predict(micro_batch, forward)
            losses, parts = self.loss(prediction, micro_batch)
            total = self.backward(losses, features, share)
            if total.device.type == "cpu" and not total.isfinite():  # on a GPU the check would synchronize
                raise DivergedError(self.culprit(micro_batch, prediction, parts))
            for name, value in {"loss": total.detach(), **parts}.items():
                found[name] = found.get(name, 0) + share * value
        return found

    def update(self) -> dict[str, Float[Tensor, ""]]:
        """Clip the gradients, step optimizer and schedule.

        Returns:
            The gradient norm before clipping, if clipping is on.
        """
        found = {}
        if self.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            found["gradient_norm"] = nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.schedule.step()
        return found

    def predict(self, batch: Batch, forward: Forward) -> tuple[Prediction, Features]:
        """The prediction, and the features between encoder and decoders if the weighting takes their gradients."""
        weighting = self.loss.weighting
        if not isinstance(weighting, GradientWeighting) or weighting.gradients_of == "parameters":
            return forward(batch.image, batch.background), ()
        given = self.model.encode(batch.image, batch.background)
        leaves = [feature.detach().requires_grad_(feature.requires_grad) for feature in given]
        learned = [(feature, leaf) for feature, leaf in zip(given, leaves, strict=True) if feature.requires_grad]
        return self.model.decode(leaves, batch.image), learned

    def backward(self, losses: Mapping[str, Tensor], features: Features, share: float) -> Float[Tensor, ""]:
        """Accumulate the gradients of all parameters, scaled by `share`.

        Returns:
            The total loss, unscaled.
        """
        weighting, parameters = self.loss.weighting, learned_parameters(self.model)
        if isinstance(weighting, GradientWeighting):
            return backward(losses, weighting, parameters, self.shared, features, self.scaler)
        total: Tensor = weighting(sync_losses(losses))
        self.scaler.scale(share * total).backward()  # type: ignore[no-untyped-call]  # torch has no types there
        all_reduce_mean(parameter.grad for parameter in (*parameters, *weighting.parameters()))
        return total

    def culprit(self, batch: Batch, prediction: Prediction, parts: dict[str, Tensor]) -> str:
        """The name of the first non-finite tensor in the order of the data flow, or of a loss below 0."""
        negative = [name for name, value in parts.items() if name.count("/") == 1 and value < 0]
        if negative and self.loss.weighting.logarithmic:
            return f"{negative[0]} is below 0 (the weighting takes losses of 0 or more)"
        state = {name: value for name, value in self.loss.weighting.state_dict().items() if name != "last"}
        tensors = {
            **{f"parameter {name}": value for name, value in self.model.named_parameters()},
            **{f"{name} of the weighting": value for name, value in state.items()},
            "input image": batch.image,
            "input depth": batch.depth[batch.valid],
            "prediction.mask_logits": prediction.mask_logits,
            "prediction.depth": prediction.depth,
            **parts,
        }
        return next((name for name, value in tensors.items() if not value.isfinite().all()), "loss") + " is not finite"
