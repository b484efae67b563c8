"""Checkpoints that are written atomically and cannot run code on loading.

The resumable state is one file, loaded with `weights_only`; the best weights are safetensors. Both are written to a
temporary file and renamed, so that a kill at any moment leaves either the old or the new file, never a partial one.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dmx.stored import intact, replacing

AGAIN = "restore it from a copy, or remove it, and the same command trains the run from its beginning."
"""Advice for a checkpoint that cannot be read."""


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write the resumable state to `path`."""
    with replacing(path, path.with_suffix(".partial"), durable=True) as partial, partial.open("wb") as file:
        torch.save(state, file)


def load_state(path: Path) -> dict[str, Any] | None:
    """Load the resumable state from `path`.

    Returns:
        The state; None if there is no such file.

    Raises:
        UserError: The file is damaged, or holds objects that `weights_only` refuses.
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
        UserError: The file is damaged, or the weights belong to another network.
    """
    with intact(path, "restore it from a copy, or train the run again."):
        model.load_state_dict(load_file(path))
