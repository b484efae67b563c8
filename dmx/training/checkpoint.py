"""Checkpoints: whole or not there, and unable to run code.

The resumable state is one file, loaded with `weights_only`; the best weights are safetensors. Both are written beside
their place and moved into it, so that a kill at any moment leaves the old or the new file, never half of one.
"""

import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write the resumable state to `path`."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def load_state(path: Path) -> dict[str, Any] | None:
    """The resumable state at `path`; None where there is none."""
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def save_weights(path: Path, model: nn.Module) -> None:
    """Write the weights of `model` as safetensors."""
    partial = path.with_suffix(".partial")
    tensors: dict[str, Tensor] = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    save_file(tensors, partial)
    partial.replace(path)


def load_weights(path: Path, model: nn.Module) -> None:
    """Read the weights of `model` from safetensors."""
    model.load_state_dict(load_file(path))
