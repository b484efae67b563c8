"""The places of an experiment that hold a component."""

from collections.abc import Mapping
from typing import Any

from dmx.registry import Registry, depth_losses, mask_losses, models, optimizers, schedules, weightings

SLOTS: dict[str, Registry[Any]] = {
    "model": models,
    "loss.mask": mask_losses,
    "loss.depth": depth_losses,
    "weighting": weightings,
    "optimizer": optimizers,
    "schedule": schedules,
}


def component_in(data: Mapping[str, Any], slot: str) -> dict[str, Any]:
    """The component in `slot` of a dumped experiment; of several losses, the first."""
    node: Any = data
    for key in slot.split("."):
        node = node[key]
    return dict(node[0] if isinstance(node, list) else node)


def slot_of(path: str) -> str | None:
    """The slot that `path` is or lies in, if any."""
    return next((slot for slot in SLOTS if path == slot or path.startswith(slot + ".")), None)
