"""Registry components in a configuration: their notation, their paths and their requirements.

`optimizer: adamw` and `optimizer: {name: adamw, lr: 1e-3}` both become the validated parameters of `adamw`.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from pydantic import GetJsonSchemaHandler, ValidationError
from pydantic_core import PydanticCustomError, core_schema

from dmx.config.base import with_proposals
from dmx.config.paths import lookup
from dmx.errors import did_you_mean
from dmx.registry import (
    Component,
    Params,
    Registry,
    depth_losses,
    mask_losses,
    models,
    optimizers,
    schedules,
    weightings,
)

COMPONENT_PATHS: dict[str, Registry[Any]] = {
    "model": models,
    "loss.mask": mask_losses,
    "loss.depth": depth_losses,
    "weighting": weightings,
    "optimizer": optimizers,
    "schedule": schedules,
}
"""The paths of an experiment that hold a component, with the component's registry."""


class ComponentField:
    """Annotation of a field that holds a component of `registry` as validated `Params`.

    Args:
        registry: The registry to look the name up in.
        beside: Keys that are allowed beside the component's own parameters.
    """

    def __init__(self, registry: Registry[Any], *beside: str) -> None:
        self.registry = registry
        self.beside = beside

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.validate, serialization=core_schema.plain_serializer_function_ser_schema(dump_component)
        )

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        with_parameters = []
        for name, component in sorted(self.registry.items()):
            one = component.params.model_json_schema()
            one["properties"] = {"name": {"const": name}, **one.get("properties", {})}
            one["required"] = ["name", *one.get("required", [])]
            with_parameters.append({**one, "title": name, "description": component.summary})
        return {"anyOf": [{"enum": sorted(self.registry)}, *with_parameters]}

    def validate(self, value: Any) -> Params:
        """Validate the parameters of the named component.

        Raises:
            PydanticCustomError: The value is neither a name nor a mapping with a name, or the name is not registered.
            ValidationError: Parameters are unknown or illegal.
        """
        if isinstance(value, Params):
            return value
        given = {"name": value} if isinstance(value, str) else dict(value) if isinstance(value, Mapping) else {}
        name = given.pop("name", None)
        if not isinstance(name, str):
            raise PydanticCustomError(
                "component_form", "give a {kind} by name or as a mapping with `name`", {"kind": self.registry.kind}
            )
        if name not in self.registry:
            proposal = did_you_mean(name, self.registry)
            raise PydanticCustomError(
                "unknown_component",
                "no {kind} '{name}'; {proposal}",
                {"kind": self.registry.kind, "name": name, "proposal": proposal},
            )
        params = self.registry[name].params
        try:
            return params.model_validate(given)
        except ValidationError as error:
            raise with_proposals(error, (*params.model_fields, *self.beside)) from None


def dump_component(params: Params) -> dict[str, Any]:
    """Dump a component as the mapping that `ComponentField` accepts."""
    return {"name": params.component.name, **params.model_dump(mode="json")}


def component_path_of(path: str) -> str | None:
    """Return the component path that equals or contains `path`, if any."""
    return next((one for one in COMPONENT_PATHS if path == one or path.startswith(one + ".")), None)


def component_at(data: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return the component at a component path of a dumped experiment; of several losses, the first."""
    found = lookup(data, path)
    return dict(found[0] if isinstance(found, list) else found)


def name_or_value_at(data: Mapping[str, Any], path: str) -> Any:
    """Return the value at a path of a dumped experiment; for a component, its name."""
    found = lookup(data, path)
    return found["name"] if isinstance(found, dict) else found


def unmet(component: Component, values: Callable[[str], Collection[Any]]) -> Iterator[str]:
    """Find the requirements of a component that an experiment, or some trial of a study, does not meet.

    `needs={"schedule": ("constant",)}` of an optimizer says that `schedule` must be `constant`.

    Args:
        component: The component, registered with its `needs`.
        values: Returns the values that may occur at a path; for a component, its name.

    Yields:
        The beginning of a message for each unmet requirement.
    """
    needs: Mapping[str, tuple[Any, ...]] = component.facts.get("needs", {})
    for path, legal in needs.items():
        bad = [value for value in values(path) if value not in legal]
        if bad:
            wanted, got = (" or ".join(_text(value) for value in some) for some in (legal, bad))
            yield f"{component.kind} '{component.name}' needs {path} to be {wanted}, but it is {got}"


def _text(value: Any) -> str:
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
