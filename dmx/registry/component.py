"""Components: a name, a function, and its parameters with default, legal range and search range in one place.

The keyword-only parameters of the registered function *are* the component's parameters:

    @depth_losses.register("silog", source="Eigen et al. 2014, eq. 4")
    def silog(prediction, batch, *, lam: Annotated[float, Field(ge=0, le=1), Range(0.1, 1.0)] = 0.5): ...

Its annotation gives the type and the legal range (pydantic), `Range` or `Choice` gives the search range, and the
default is the default. Parameters without a search range are never searched unless a study names a range itself.
"""

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Generic, ParamSpec, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, create_model

from dmx.registry.ranges import Choice, Range, Search

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Params(BaseModel):
    """The parameters of one component, validated and frozen; each component has a subclass of its own."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
    component: ClassVar["Component"]

    def bind(self) -> Callable[..., Any]:
        """The component's function with these parameters filled in."""
        return partial(self.component.function, **{name: getattr(self, name) for name in type(self).model_fields})


@dataclass(frozen=True)
class Component:
    """A registered function and its metadata.

    Attributes:
        kind: The kind of its registry: `model`, `mask loss`, ...
        name: Its name in the registry.
        function: The function; `Params.bind` fills in the keyword parameters, positional arguments depend on the kind.
        params: The model of its parameters.
        source: Its source: paper and equation, or the library it wraps.
        facts: Further metadata that the kind requires (a metric's direction, a loss's depth kinds, ...).
    """

    kind: str
    name: str
    function: Callable[..., Any]
    params: type[Params]
    source: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """The first line of the function's docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    def search_space(self) -> dict[str, Search]:
        """The parameters that are searched by default, with their ranges."""
        found = {}
        for name, info in self.params.model_fields.items():
            for annotation in info.metadata:
                if isinstance(annotation, Range | Choice):
                    found[name] = annotation
        return found


class Registry(dict[str, Component], Generic[T]):
    """The components of one kind by name: a dict with a `register` decorator.

    Args:
        kind: The kind of its components, in the singular.
        required: Names of the facts that `register` must be given.

    Raises:
        ValueError: A name is already registered for another function, a required fact is missing, or a default or
            search range is illegal.
    """

    def __init__(self, kind: str, required: Collection[str] = ()) -> None:
        super().__init__()
        self.kind = kind
        self.required = required

    def register(self, name: str, *, source: str, **facts: Any) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Register the decorated function under `name`; the function itself is returned unchanged."""

        def take(function: Callable[P, R]) -> Callable[P, R]:
            if name in self and self[name].function.__module__ != function.__module__:
                raise ValueError(
                    f"{self.kind} '{name}' is registered by {self[name].function.__module__} already; "
                    f"choose another name in {function.__module__}."
                )
            if missing := [fact for fact in self.required if fact not in facts]:
                raise ValueError(
                    f"{self.kind} '{name}' is registered without {', '.join(missing)}; give every {self.kind} its own."
                )
            params = params_of(function)
            params.component = Component(self.kind, name, function, params, source, facts)
            check_ranges(params.component)
            self[name] = params.component
            return function

        return take


def params_of(function: Callable[..., Any]) -> type[Params]:
    """Make the `Params` model from the keyword-only parameters of `function`."""
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            default = ... if parameter.default is inspect.Parameter.empty else parameter.default
            fields[parameter.name] = (hints[parameter.name], default)
    name = "".join(part.title() for part in function.__name__.split("_")) + "Params"
    return create_model(name, __base__=Params, __module__=function.__module__, **fields)


def check_ranges(component: Component) -> None:
    """Check that the default and the search range of every parameter are legal values."""
    searched = component.search_space()
    validator = component.params.__pydantic_validator__
    for name, info in component.params.model_fields.items():
        search = searched.get(name)
        ends = () if search is None else search.values if isinstance(search, Choice) else (search.low, search.high)
        defaults = () if info.is_required() else (info.default,)
        for what, values in (("default", defaults), ("search range", ends)):
            for value in values:
                try:
                    validator.validate_assignment(component.params.model_construct(), name, value)
                except ValueError as error:
                    raise ValueError(
                        f"{component.kind} '{component.name}': {what} of `{name}` has {value!r}, which its own "
                        f"legal range forbids: {error}"
                    ) from error
