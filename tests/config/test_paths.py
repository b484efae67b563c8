"""Dotted paths into plain data."""

import re
from typing import Any

import pytest

from dmx.config.paths import lookup, values_by_path, with_value

DATA: dict[str, Any] = {"stages": [{"epochs": 2}, {"epochs": 3}], "model": {"name": "unet"}, "seed": 0, "plugins": []}


def test_a_value_is_found_in_mappings_and_lists() -> None:
    assert lookup(DATA, "stages.1.epochs") == 3
    assert lookup(DATA, "model") == {"name": "unet"}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("stages.2.epochs", "has no '2' here; Known: 0, 1"),
        ("modle.name", "has no 'modle' here; did you mean 'model'?"),
        ("seed.x", "has no 'x' here"),
    ],
)
def test_a_place_that_is_not_there_is_refused_with_a_proposal(path: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        lookup(DATA, path)


def test_all_values_by_their_paths() -> None:
    whole = {"stages.0.epochs": 2, "stages.1.epochs": 3, "model.name": "unet", "seed": 0}
    assert values_by_path(DATA) == whole
    assert all(lookup(DATA, path) == value for path, value in whole.items())
    assert values_by_path(DATA, enter_lists=False) == {
        "stages": DATA["stages"],
        "model.name": "unet",
        "seed": 0,
        "plugins": [],
    }


def test_with_value_leaves_the_original_alone() -> None:
    data = {"a": {"b": 1}}
    assert with_value(data, "a.b", 2) == {"a": {"b": 2}}
    assert data == {"a": {"b": 1}}


def test_with_value_makes_what_is_missing_and_opens_a_bare_name() -> None:
    assert with_value({"optimizer": "adamw"}, "optimizer.lr", 1e-3) == {"optimizer": {"name": "adamw", "lr": 1e-3}}
    assert with_value({"training": None}, "training.keep", "all") == {"training": {"keep": "all"}}
    assert with_value({"stages": [1, 2]}, "stages.1", 3) == {"stages": [1, 3]}
