"""Checkpoints: whole or not there, and unable to run code.

The resumable state is one file, loaded with `weights_only`; the best weights are safetensors. Both are written beside
their place and moved into it, so that a kill at any moment leaves the old or the new file, never half of one.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dmx.stored import intact, replacing

AGAIN = "restore it from a copy, or remove it, and the same command trains the run from its beginning."
"""What to do about a checkpoint that cannot be read."""


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write the resumable state to `path`."""
    with replacing(path, path.with_suffix(".partial"), durable=True) as partial, partial.open("wb") as file:
        torch.save(state, file)


def load_state(path: Path) -> dict[str, Any] | None:
    """The resumable state at `path`; None where there is none.

    Raises:
        UserError: The file is damaged, or holds more than numbers.
    """
    if not path.exists():
        return None
    with intact(path, AGAIN):
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict):
            raise TypeError(f"holds {type(state).__name__}")
    return state


def save_weights(path: Path, model: nn.Module) -> None:
    """Write the weights of `model` as safetensors."""
    tensors: dict[str, Tensor] = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    with replacing(path, path.with_suffix(".partial")) as partial:
        save_file(tensors, partial)


def load_weights(path: Path, model: nn.Module) -> None:
    """Read the weights of `model` from safetensors.

    Raises:
        UserError: The file is damaged, or the weights are those of another network.
    """
    with intact(path, "restore it from a copy, or train the run again."):
        model.load_state_dict(load_file(path))
