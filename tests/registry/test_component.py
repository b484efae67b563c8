"""Components: the parameters are those of the function's signature, and nothing illegal gets in."""

import re
from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError

from dmx.registry import Choice, Component, Range, Registry, depth_metrics, joint_metrics, mask_metrics


def resize(
    picture: str,
    size: int = 3,
    *,
    width: Annotated[int, Field(ge=1, le=8), Choice(2, 4)] = 2,
    rate: Annotated[float, Field(gt=0), Range(0.5, 2.0, log=True)] = 1.0,
    mode: Literal["near", "far"] = "near",
) -> tuple[object, ...]:
    """Resize a picture.

    More on it.
    """
    return picture, size, width, rate, mode


def registered(function=resize, **facts: object) -> Component:
    registry: Registry[object] = Registry("toy")
    registry.register("resize", source="Somebody 2020", **facts)(function)
    return registry["resize"]


def test_keyword_only_parameters_are_the_components_parameters() -> None:
    component = registered(kinds=("metric",))
    assert (component.kind, component.name, component.source) == ("toy", "resize", "Somebody 2020")
    assert component.summary == "Resize a picture."
    assert component.facts == {"kinds": ("metric",)}
    assert component.params.__name__ == "ResizeParams"
    assert component.params().model_dump() == {"width": 2, "rate": 1.0, "mode": "near"}
    assert component.search_space() == {"width": Choice(2, 4), "rate": Range(0.5, 2.0, log=True)}


def test_binding_fills_in_the_parameters_and_leaves_the_rest_to_the_caller() -> None:
    component = registered()
    assert component.params(width=4, mode="far").bind()("cat") == ("cat", 3, 4, 1.0, "far")
    assert component.params().bind()("cat", 7) == ("cat", 7, 2, 1.0, "near")
    assert component.function("cat") == ("cat", 3, 2, 1.0, "near")  # stays an ordinary function


@pytest.mark.parametrize(
    ("given", "place", "text"),
    [
        ({"width": 9}, "width", "Input should be less than or equal to 8"),
        ({"width": 0}, "width", "Input should be greater than or equal to 1"),
        ({"width": 2.5}, "width", "Input should be a valid integer, got a number with a fractional part"),
        ({"rate": 0}, "rate", "Input should be greater than 0"),
        ({"rate": float("nan")}, "rate", "Input should be a finite number"),
        ({"mode": "sideways"}, "mode", "Input should be 'near' or 'far'"),
        ({"size": 3}, "size", "Extra inputs are not permitted"),
    ],
)
def test_what_is_not_legal_is_refused(given: dict[str, object], place: str, text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        registered().params(**given)
    assert [(error["loc"], error["msg"]) for error in caught.value.errors()] == [((place,), text)]


def test_parameters_are_frozen() -> None:
    params = registered().params()
    with pytest.raises(ValidationError, match="Instance is frozen"):
        params.width = 3
    assert params.width == 2


def test_a_parameter_without_a_default_must_be_given() -> None:
    def needy(*, width: Annotated[int, Field(ge=1), Choice(1, 2)]) -> int:
        """Need a width."""
        return width

    component = registered(needy)
    assert component.params(width=2).bind()() == 2
    with pytest.raises(ValidationError, match="Field required"):
        component.params()


def test_without_parameters_there_is_nothing_to_search() -> None:
    def plain(picture: str) -> str:
        """Do nothing."""
        return picture

    component = registered(plain)
    assert component.search_space() == {}
    assert component.params().bind()("cat") == "cat"


def test_a_search_range_beyond_the_legal_one_is_refused() -> None:
    def wide(*, rate: Annotated[float, Field(gt=0, le=1), Range(0.5, 2.0)] = 1.0) -> float:
        """Search too far."""
        return rate

    def choosy(*, mode: Annotated[Literal["near", "far"], Choice("near", "sideways")] = "near") -> str:
        """Search what is not there."""
        return mode

    registry: Registry[object] = Registry("toy")
    for function, parameter, value in ((wide, "rate", "2.0"), (choosy, "mode", "'sideways'")):
        text = f"toy 'x': search range of `{parameter}` has {value}, which its own legal range forbids: "
        with pytest.raises(ValueError, match=re.escape(text)):
            registry.register("x", source="Nobody")(function)
    assert registry == {}


def test_a_name_belongs_to_the_module_that_took_it_first() -> None:
    registry: Registry[object] = Registry("toy")

    def again() -> None:
        """Do it again."""

    def theirs() -> None:
        """Do something else."""

    theirs.__module__ = "elsewhere"
    registry.register("resize", source="Somebody 2020")(resize)
    text = f"^toy 'resize' is registered by {resize.__module__} already; choose another name in elsewhere.$"
    with pytest.raises(ValueError, match=text):
        registry.register("resize", source="Nobody")(theirs)
    assert registry["resize"].function is resize
    registry.register("resize", source="Somebody 2020")(again)  # as when a module is loaded anew
    assert registry["resize"].function is again


def test_an_illegal_default_is_refused_when_it_is_registered() -> None:
    registry: Registry[object] = Registry("thing")
    with pytest.raises(
        ValueError, match=r"thing 'odd': default of `share` has 5\.0, which its own legal range forbids"
    ):

        @registry.register("odd", source="a test")
        def odd(*, share: Annotated[float, Field(ge=0, le=1)] = 5.0, needed: int) -> None:
            """Odd."""

    assert "odd" not in registry


def test_a_metric_says_all_that_is_asked_of_it() -> None:
    """When it is registered; else `dmx evaluate` would find out after a training."""
    registry: Registry[object] = Registry("mask metric", ("finish", "version"))
    with pytest.raises(ValueError, match="mask metric 'half' is registered without finish"):
        registry.register("half", source="a test", version=1)(resize)
    assert not registry
    for metrics in (mask_metrics, depth_metrics, joint_metrics):
        assert {"finish", "higher_is_better", "equation", "version"} <= set(metrics.required)
