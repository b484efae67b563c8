"""The training step."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from dmx.quartet import Batch, Prediction
from dmx.training.execution import Execution
from dmx.training.joint_loss import JointLoss


class DivergedError(Exception):
    """A NaN or an infinity turned up; the text names the tensor."""


@dataclass(frozen=True)
class Learner:
    """What a training step works on."""

    model: nn.Module
    loss: JointLoss
    optimizer: Optimizer
    schedule: LRScheduler
    scaler: torch.amp.GradScaler
    execution: Execution
    clip_norm: float | None

    def step(self, batch: Batch, forward: Callable[..., Prediction]) -> dict[str, Float[Tensor, ""]]:
        """One optimizer step on `batch`; gives the losses by name, still on the device.

        Args:
            batch: The samples, on the device.
            forward: The model itself or its compiled form.
        """
        self.optimizer.zero_grad(set_to_none=True)
        with self.execution.autocast():
            prediction = forward(batch.image, batch.background)
        total, parts = self.loss(prediction, batch)
        if total.device.type == "cpu" and not total.isfinite():  # elsewhere asking would wait for the device
            raise DivergedError(self.culprit(batch, prediction, parts))
        self.scaler.scale(total).backward()
        if self.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            parts["gradient_norm"] = nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.schedule.step()
        return {"loss": total.detach(), **parts}

    def culprit(self, batch: Batch, prediction: Prediction, parts: dict[str, Tensor]) -> str:
        """The first tensor that is not finite, in the order in which one spoils the next."""
        tensors = {
            **{f"parameter {name}": value for name, value in self.model.named_parameters()},
            **{f"parameter {name} of the weighting": value for name, value in self.loss.weighting.named_parameters()},
            "input image": batch.image,
            "input depth": batch.depth[batch.valid],
            "prediction.mask_logits": prediction.mask_logits,
            "prediction.depth": prediction.depth,
            **parts,
        }
        return next((name for name, value in tensors.items() if not value.isfinite().all()), "loss") + " is not finite"
