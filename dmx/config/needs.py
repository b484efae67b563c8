"""What a component needs from other places of an experiment, told where it is registered.

`needs={"schedule": ("constant",)}` of an optimizer: `schedule` must be `constant`.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from dmx.registry import Component


def unmet(component: Component, values: Callable[[str], Collection[Any]]) -> Iterator[str]:
    """Each need of `component` that is not met, as the beginning of a message.

    Args:
        component: What was chosen.
        values: What may stand at a place of the experiment; of another component, its name.
    """
    needs: Mapping[str, tuple[Any, ...]] = component.facts.get("needs", {})
    for place, legal in needs.items():
        bad = [value for value in values(place) if value not in legal]
        if bad:
            wanted, got = (" or ".join(_text(value) for value in some) for some in (legal, bad))
            yield f"{component.kind} '{component.name}' needs {place} to be {wanted}, but it is {got}"


def _text(value: Any) -> str:
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
