"""A configuration as flat names and short values, as tables and stores want it."""

from collections.abc import Mapping
from typing import Any

from dmx.config.experiment import ExperimentConfig, Stage
from dmx.config.slots import SLOTS
from dmx.registry import Scalar


def flatten(config: ExperimentConfig) -> dict[str, Scalar]:
    """Dotted names to plain values, the same names for every model, loss and optimizer.

    A component gives its name under its slot (`optimizer`) and its parameters below (`optimizer.lr`), so that columns
    compare across components; several losses of one task give their names joined by `+`.
    """
    data = config.dump()
    flat: dict[str, Scalar] = {}
    for slot in SLOTS:
        *parents, leaf = slot.split(".")
        holder = data
        for key in parents:
            holder = holder[key]
        terms = holder.pop(leaf)
        terms = terms if isinstance(terms, list) else [terms]
        flat[slot] = "+".join(term["name"] for term in terms)
        for term in terms:
            prefix = f"{slot}.{term['name']}" if slot.startswith("loss.") else slot
            flat |= {f"{prefix}.{key}": _short(value) for key, value in term.items() if key != "name"}
    steps = data["augment"].pop("steps")
    flat["augment"] = "+".join(step["name"] for step in steps)
    flat |= {f"augment.{s['name']}.{key}": _short(value) for s in steps for key, value in s.items() if key != "name"}
    flat["stages"] = ", ".join(_stage(stage) for stage in config.stages)
    del data["stages"]
    return flat | dict(_walk(data, ""))


def flat_name(path: str) -> str:
    """The name under which `flatten` has what a study varies at `path`.

    >>> flat_name("optimizer.adamw.lr"), flat_name("loss.mask.focal.alpha"), flat_name("stages.0.batch_size")
    ('optimizer.lr', 'loss.mask.focal.alpha', 'stages')
    """
    slot, *rest = path.split(".")
    if slot == "stages":
        return slot
    return f"{slot}.{'.'.join(rest[1:])}" if slot in SLOTS and len(rest) > 1 else path


def _stage(stage: Stage) -> str:
    """Epochs, size, batch size and, where it is not all of the data, the share of them: `2x64@16 of 0.5`."""
    share = f" of {stage.share:g}" if stage.share < 1 else ""
    return f"{stage.epochs}x{stage.size}@{stage.batch_size}{share}"


def _walk(node: Mapping[str, Any], prefix: str) -> list[tuple[str, Scalar]]:
    found: list[tuple[str, Scalar]] = []
    for key, value in node.items():
        if isinstance(value, Mapping):
            found += _walk(value, f"{prefix}{key}.")
        else:
            found.append((prefix + key, _short(value)))
    return found


def _short(value: Any) -> Scalar:
    return value if isinstance(value, str | int | float | bool | None) else str(value)
