"""Components in tables: functions that differ in name, docstring and parameters alone."""

from collections.abc import Callable, Mapping
from inspect import Parameter, Signature
from typing import Any, NamedTuple, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class Setting(NamedTuple):
    """A parameter of a component: its type with legal and searched range, its default, and its description."""

    type: Any
    default: Any
    what: str


def described(function: F, name: str, summary: str, settings: Mapping[str, Setting], end: str = "") -> F:
    """Give a function that takes `**given` what `Registry.register` reads: name, signature and docstring.

    Args:
        function: The function; its other parameters stay as they are, and are not described.
        name: Its new name.
        summary: What it is.
        settings: Its keyword parameters.
        end: Further sections of the docstring.
    """
    hints = function.__annotations__
    own = [
        Parameter(key, Parameter.POSITIONAL_OR_KEYWORD, annotation=hint)
        for key, hint in hints.items()
        if key not in ("given", "return")
    ]
    own += [Parameter(k, Parameter.KEYWORD_ONLY, default=s.default, annotation=s.type) for k, s in settings.items()]
    words = "".join(f"\n    {key}: {setting.what}" for key, setting in settings.items())
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{summary}\n\nArgs:{words}\n{end}"
    function.__annotations__ = {one.name: one.annotation for one in own}
    function.__signature__ = Signature(own)  # type: ignore[attr-defined]
    return function
