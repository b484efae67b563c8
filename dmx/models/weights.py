"""Weights from local files: how they are read, and whether they fit a network. There is no partial loading."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

from dmx.errors import UserError
from dmx.stored import intact
from dmx.written import not_filled_in, place

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
NESTED = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model")
"""Keys under which training programs keep a state dict; averaged weights come first, as in timm."""
PREFIXES = ("module.", "model.", "encoder.", "backbone.", "body.", "_orig_mod.")
"""What wrappers put before all names: DataParallel, Lightning, segmentation networks, timm, torch.compile."""
COUNTER = "num_batches_tracked"
"""Batch norm's counter of steps, which no computation here uses, and which older files lack."""
LISTED = 3
"""The number of names that a message lists of each kind."""

V = TypeVar("V")
Shapes = Mapping[str, tuple[int, ...]]


def is_path(text: str) -> bool:
    """Whether a text names a file, and not weights of a library or a run.

    >>> is_path("weights/resnet18"), is_path("resnet18.pth"), is_path("a1_in1k")
    (True, True, False)
    """
    return "/" in text or "\\" in text or text.endswith(SUFFIXES)


def file_of(text: str, where: str) -> Path:
    """The file that a user names, relative to the current folder.

    Args:
        text: The path.
        where: The setting that names it, for messages.

    Raises:
        UserError: There is no such file.
    """
    path = place(text)
    if not path.is_file():
        raise UserError(f"{where} names {path}, but there is no such file; check the path{not_filled_in(path)}.")
    return path


def read_state(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file, or of a torch file with `weights_only`.

    Returns:
        The state dict, also if it is nested under one of the usual keys; values other than tensors are left out.

    Raises:
        UserError: The file cannot be read, holds objects that `weights_only` refuses, or has no tensors.
    """
    import torch
    from safetensors.torch import load_file

    with intact(path, "take another file, in safetensors or as torch.save writes a state dict."):
        found: Any
        if path.suffix == ".safetensors":
            found = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
            while isinstance(found, Mapping) and (inner := next((k for k in NESTED if _is_map(found.get(k))), None)):
                found = found[inner]
        state = {str(k): v for k, v in found.items() if isinstance(v, Tensor)} if _is_map(found) else {}
        if not state:
            raise ValueError("it holds no state dict")
    return state


def _is_map(value: object) -> bool:
    return isinstance(value, Mapping)


def without_prefixes(state: Mapping[str, V], keep: Callable[[str], bool]) -> dict[str, V]:
    """Strip the prefixes that all names share, but for those that `keep`, such as a classifier's outside of them."""
    names = list(state)
    while prefix := next(
        (p for p in PREFIXES if any(n.startswith(p) for n in names) and all(n.startswith(p) or keep(n) for n in names)),
        None,
    ):
        names = [name.removeprefix(prefix) for name in names]
    return dict(zip(names, state.values(), strict=True))


@dataclass(frozen=True)
class Fit:
    """How the tensors of a file compare with those of a network; equal if all three are empty.

    Attributes:
        missing: Names that the file lacks.
        superfluous: Names that the network has no place for.
        misshapen: The shapes in the file and in the network, by name.
    """

    missing: tuple[str, ...]
    superfluous: tuple[str, ...]
    misshapen: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]

    def require(self, path: Path, what: str, advice: str) -> None:
        """Check that nothing is missing, superfluous or misshapen.

        Raises:
            UserError: Something is; the message lists it all, shortened.
        """
        shapes = [f"{name} of {_text(has)} for {_text(wants)}" for name, (has, wants) in self.misshapen.items()]
        kinds = (("missing", self.missing), ("superfluous", self.superfluous), ("misshapen", shapes))
        if found := [f"{len(names)} {kind} ({_listed(names)})" for kind, names in kinds if names]:
            raise UserError(f"{path} does not fit {what}: {', '.join(found)}; nothing was loaded. {advice}")


def compare(wanted: Shapes, found: Mapping[str, Tensor], ignored: Callable[[str], bool] = lambda name: False) -> Fit:
    """Compare a file's tensors with the shapes that a network has.

    Args:
        wanted: The network's shapes by name.
        found: The file's tensors by name.
        ignored: Whether a name that the network lacks may stand in the file.
    """
    return Fit(
        tuple(name for name in wanted if name not in found and not name.endswith(COUNTER)),
        tuple(name for name in found if name not in wanted and not ignored(name)),
        {n: (tuple(found[n].shape), wanted[n]) for n in wanted if n in found and tuple(found[n].shape) != wanted[n]},
    )


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """The shapes of a module's parameters and buffers, by name."""
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED:,} more" if len(names) > LISTED else ""
    return ", ".join(re.sub(r"\s", " ", name) for name in names[:LISTED]) + more


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a number"
