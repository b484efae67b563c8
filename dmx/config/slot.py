"""Where a configuration names a component of a registry.

`optimizer: adamw` and `optimizer: {name: adamw, lr: 1e-3}` both give the validated parameters of `adamw`.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import GetJsonSchemaHandler, ValidationError
from pydantic_core import PydanticCustomError, core_schema

from dmx.config.base import with_proposals
from dmx.errors import did_you_mean
from dmx.registry import Params, Registry


class InRegistry:
    """Annotation of a field that holds the `Params` of a component from `registry`.

    Args:
        registry: Where it is looked up.
        beside: Keys that a user may write beside the component's own parameters.
    """

    def __init__(self, registry: Registry[Any], *beside: str) -> None:
        self.registry = registry
        self.beside = beside

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.validate, serialization=core_schema.plain_serializer_function_ser_schema(dump)
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
        """The parameters of the named component.

        Raises:
            PydanticCustomError: The form is not a name or a mapping with a name, or the name is not registered.
            ValidationError: Parameters are unknown or not legal.
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


def dump(params: Params) -> dict[str, Any]:
    """The mapping that gives `params` again."""
    return {"name": params.component.name, **params.model_dump(mode="json")}
