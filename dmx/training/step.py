"""The training step."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from dmx.models import DepthMaskModel
from dmx.quartet import Batch, Prediction
from dmx.training.execution import Execution
from dmx.training.gradients import Features, backward
from dmx.training.joint_loss import JointLoss
from dmx.training.processes import agreed, average
from dmx.weighting.kinds import GradientWeighting

Forward = Callable[[Tensor, Tensor | None], Prediction]


class DivergedError(Exception):
    """A NaN or an infinity turned up; the text names the tensor."""


@dataclass(frozen=True)
class Learner:
    """What a training step works on.

    Attributes:
        shared: For each of the model's parameters, whether both tasks depend on it; for weightings by gradients.
    """

    model: DepthMaskModel
    loss: JointLoss
    optimizer: Optimizer
    schedule: LRScheduler
    scaler: torch.amp.GradScaler
    execution: Execution
    clip_norm: float | None
    shared: Sequence[bool] = ()

    def compiled(self) -> Forward:
        """The compiled model, which a weighting by gradients may differentiate once for each task.

        Donated, what the forward pass kept serves one backward pass only. That is off for all weightings: a backward
        graph compiled with it comes again from torch's caches for the same network, and gives wrong gradients without
        a word.
        """
        torch._functorch.config.donated_buffer = False
        return torch.compile(self.model, dynamic=False)

    def step(self, batch: Batch, forward: Forward) -> dict[str, Float[Tensor, ""]]:
        """One optimizer step on `batch`; gives the losses by name, still on the device.

        Args:
            batch: The samples, on the device.
            forward: The model itself or its compiled form.
        """
        return {**self.gradients(batch, forward), **self.update()}

    def gradients(self, batch: Batch, forward: Forward, pieces: int = 1) -> dict[str, Float[Tensor, ""]]:
        """Set the gradients of all parameters; gives the losses by name.

        Several pieces of a batch go through one after the other, which takes less memory: ∇L = Σ_i n_i/n ∇L_i. That is
        the batch's own gradient but for batch norm, which sees a piece at a time, and for losses that are no mean over
        samples.
        """
        self.optimizer.zero_grad(set_to_none=True)
        found: dict[str, Tensor] = {}
        for piece in batch.split(pieces):
            share = len(piece) / len(batch)
            with self.execution.autocast():
                prediction, features = self.predict(piece, forward)
            losses, parts = self.loss(prediction, piece)
            total = self.backward(losses, features, share)
            if total.device.type == "cpu" and not total.isfinite():  # elsewhere asking would wait for the device
                raise DivergedError(self.culprit(piece, prediction, parts))
            for name, value in {"loss": total.detach(), **parts}.items():
                found[name] = found.get(name, 0) + share * value
        return found

    def update(self) -> dict[str, Float[Tensor, ""]]:
        """Change the parameters by their gradients, whose norm this gives where it is clipped."""
        found = {}
        if self.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            found["gradient_norm"] = nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.schedule.step()
        return found

    def predict(self, batch: Batch, forward: Forward) -> tuple[Prediction, Features]:
        """The prediction; and the features between encoder and decoders, where the weighting is on them."""
        weighting = self.loss.weighting
        if not isinstance(weighting, GradientWeighting) or weighting.gradients_of == "parameters":
            return forward(batch.image, batch.background), ()
        given = self.model.encode(batch.image, batch.background)
        leaves = [feature.detach().requires_grad_(feature.requires_grad) for feature in given]
        learned = [(feature, leaf) for feature, leaf in zip(given, leaves, strict=True) if feature.requires_grad]
        return self.model.decode(leaves, batch.image), learned

    def backward(self, losses: Mapping[str, Tensor], features: Features, share: float) -> Float[Tensor, ""]:
        """Add a share of the gradients of all parameters; gives the total that they are of."""
        weighting, parameters = self.loss.weighting, list(self.model.parameters())
        if isinstance(weighting, GradientWeighting):
            return backward(losses, weighting, parameters, self.shared, features, self.scaler)
        total: Tensor = weighting(agreed(losses))
        self.scaler.scale(share * total).backward()  # type: ignore[no-untyped-call]  # torch has no types there
        average(parameter.grad for parameter in (*parameters, *weighting.parameters()))
        return total

    def culprit(self, batch: Batch, prediction: Prediction, parts: dict[str, Tensor]) -> str:
        """The first tensor that is not finite, in the order in which one spoils the next, or a loss below 0."""
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
