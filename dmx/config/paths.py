"""Dotted paths into plain data: `stages.0.batch_size` is the batch size of an experiment's first stage."""

from collections.abc import Mapping
from typing import Any

from dmx.errors import did_you_mean


def lookup(data: Any, path: str) -> Any:
    """Find the value at a path of nested mappings and lists.

    Raises:
        ValueError: The path does not exist; the message proposes a similar one.
    """
    for key in path.split("."):
        keys = [str(i) for i in range(len(data))] if isinstance(data, list) else data if isinstance(data, dict) else []
        if key not in keys:
            raise ValueError(f"the experiment has no '{key}' here; {did_you_mean(key, keys)}")
        data = data[int(key)] if isinstance(data, list) else data[key]
    return data


def with_value(data: Any, path: str, value: Any) -> Any:
    """Copy `data` with another value at `path`; missing mappings along the path are created.

    A component given by its bare name becomes a mapping, so its parameters can be set.

    Raises:
        ValueError: The path enters a list at no valid index, or enters a plain value.
    """
    key, dot, rest = path.partition(".")
    data = {} if data is None else named(data)
    if isinstance(data, list):
        if not key.isdigit() or int(key) >= len(data):
            raise ValueError(f"'{key}' is no place in a list of {len(data)}; count from 0")
        new = with_value(data[int(key)], rest, value) if dot else value
        return [new if i == int(key) else item for i, item in enumerate(data)]
    if not isinstance(data, Mapping):
        raise ValueError(f"'{key}' cannot be set inside the plain value {data!r}")
    return {**data, key: with_value(data.get(key), rest, value) if dot else value}


def named(value: Any) -> Any:
    """Convert a component given by its bare name to a mapping; other values are returned unchanged."""
    return {"name": value} if isinstance(value, str) else value


def values_by_path(data: Any, prefix: str = "", *, enter_lists: bool = True) -> dict[str, Any]:
    """Flatten nested plain data to a mapping from dotted path to value.

    Args:
        data: Mappings, lists and plain values.
        prefix: The path of `data` itself.
        enter_lists: Whether to descend into lists; otherwise a list is one value.
    """
    if not isinstance(data, dict | list) or (isinstance(data, list) and not enter_lists):
        return {prefix: data}
    found: dict[str, Any] = {}
    for key, value in data.items() if isinstance(data, dict) else enumerate(data):
        found |= values_by_path(value, f"{prefix}.{key}" if prefix else str(key), enter_lists=enter_lists)
    return found
