"""What each registered component declares of its parameters is true, by values made from the declarations."""

import inspect
import math
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import pytest
from annotated_types import Ge, Gt, Le, Lt
from pydantic import ValidationError

import dmx.data.augment
import dmx.losses
import dmx.metrics
import dmx.models
import dmx.training.optimizers
import dmx.training.schedules
import dmx.weighting  # noqa: F401  all of these register when they are imported
from dmx.registry import REGISTRIES, Choice, Component

KINDS = (
    "models",
    "mask_losses",
    "depth_losses",
    "weightings",
    "optimizers",
    "schedules",
    "mask_metrics",
    "depth_metrics",
    "joint_metrics",
    "augmentations",
)
COMPONENTS = [
    pytest.param(component, id=f"{kind}-{name}") for kind in KINDS for name, component in REGISTRIES[kind].items()
]


def illegal_values(component: Component) -> Iterator[tuple[str, Any]]:
    """For each parameter, values just outside of its bounds, of other types, and those that are no numbers."""
    for name, info in component.params.model_fields.items():
        for bound in info.metadata:
            match bound:
                case Ge(ge=low):
                    yield name, low - 1
                case Gt(gt=low):
                    yield name, low
                case Le(le=high):
                    yield name, high + 1
                case Lt(lt=high):
                    yield name, high
        yield name, [1]
        if info.annotation in (int, float):
            yield from ((name, value) for value in (math.nan, math.inf, "many"))
        elif info.annotation is bool:
            yield name, "perhaps"
        elif info.annotation is str or get_origin(info.annotation) is Literal:
            yield name, "no such choice"


def legal_values(component: Component) -> Iterator[tuple[str, Any]]:
    """For each parameter, its choices, the ends of its search range and its included bounds."""
    for name, info in component.params.model_fields.items():
        if get_origin(info.annotation) is Literal:
            yield from ((name, value) for value in get_args(info.annotation))
        yield from ((name, getattr(b, "ge", getattr(b, "le", None))) for b in info.metadata if isinstance(b, Ge | Le))
        search = component.search_space().get(name)
        if search:
            values = search.values if isinstance(search, Choice) else (search.low, search.high)
            yield from ((name, value) for value in values)


ILLEGAL = [
    pytest.param(*component.values, name, value, id=f"{component.id}-{name}={value}")
    for component in COMPONENTS
    for name, value in illegal_values(*component.values)
]


@pytest.mark.parametrize(("component", "name", "value"), ILLEGAL)
def test_illegal_values_are_refused(component, name, value):
    with pytest.raises(ValidationError) as caught:
        component.params(**{name: value})
    assert [problem["loc"] for problem in caught.value.errors()] == [(name,)]


@pytest.mark.parametrize("component", COMPONENTS)
def test_legal_values_are_taken(component):
    for name, value in legal_values(component):
        assert getattr(component.params(**{name: value}), name) == value


@pytest.mark.parametrize("component", COMPONENTS)
def test_defaults_make_a_component(component):
    assert callable(component.params().bind())


@pytest.mark.parametrize("component", COMPONENTS)
def test_unknown_parameters_are_refused(component):
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        component.params(no_such_parameter=1)


@pytest.mark.parametrize("component", COMPONENTS)
def test_numbers_have_bounds(component):
    """Illegal values can only be made, and users only be helped, where the legal range is declared."""
    for name, info in component.params.model_fields.items():
        if info.annotation in (int, float):
            assert any(isinstance(bound, Ge | Gt) for bound in info.metadata), name


@pytest.mark.parametrize("component", COMPONENTS)
def test_is_documented(component):
    """A summary, a source, and a word on each parameter."""
    text = inspect.getdoc(component.function) or ""
    assert component.summary.endswith(".")
    assert component.source
    for name in component.params.model_fields:
        assert f"\n    {name}: " in text, name
