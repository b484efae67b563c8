"""The base of every configuration section: frozen, complete, and clear about what is wrong with it."""

import re
from collections.abc import Callable, Hashable, Iterable
from typing import Any

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from dmx.errors import Problem, did_you_mean


class Frozen(BaseModel):
    """A validated, frozen section of a configuration; keys it does not know are refused with a proposal."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @model_validator(mode="wrap")
    @classmethod
    def _propose_keys(cls, data: Any, handler: Callable[[Any], Any]) -> Any:
        try:
            return handler(data)
        except ValidationError as error:
            raise with_proposals(error, cls.model_fields) from None


def once(what: str, remedy: str, name: Callable[[Any], Hashable] = lambda item: item) -> AfterValidator:
    """Return a validator that refuses duplicate names in a list, since only one item of a name could be looked up.

    Args:
        what: What an item of the list is, for the message.
        remedy: What to do about a duplicate, for the message.
        name: Returns the name of an item.
    """

    def check(items: tuple[Any, ...]) -> tuple[Any, ...]:
        names = [name(item) for item in items]
        if len(set(names)) < len(names):
            raise ValueError(f"names {what} twice ({', '.join(map(str, names))}); {remedy}")
        return items

    return AfterValidator(check)


def with_proposals(error: ValidationError, known: Iterable[str]) -> ValidationError:
    """Rewrite a validation error so that an unknown key of the top level proposes one of the `known`."""
    details = []
    for line in error.errors(include_url=False):
        unknown = line["type"] == "extra_forbidden" and len(line["loc"]) == 1
        text = f"unknown key; {did_you_mean(str(line['loc'][0]), known)}" if unknown else line["msg"]
        kind = "unknown_key" if unknown else line["type"]
        details.append(
            InitErrorDetails(
                type=PydanticCustomError(kind, "{text}", {"text": text}), loc=line["loc"], input=line["input"]
            )
        )
    return ValidationError.from_exception_data(error.title, details)


def problems_of(error: ValidationError, prefix: str = "") -> list[Problem]:
    """List every line of a validation error as a problem: where, what is legal, what was given."""
    problems = []
    for line in error.errors(include_url=False):
        where = re.sub(r"(loss\.(?:mask|depth)\.\d+)\.loss", r"\1", ".".join(str(part) for part in line["loc"]))
        text = line["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
        says_it = line["type"] in ("unknown_key", "unknown_component", "missing", "value_error", "component_form")
        got = "" if says_it else f", but got {line['input']!r}"
        problems.append(Problem(prefix + where, text.replace("Field required", "is missing; give it") + got))
    return problems
