"""From YAML and overrides to plain data: `extends:`, merging, `-s a.b=c`, and the parts where YAML surprises."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dmx import written
from dmx.errors import ConfigError, Problem, UserError


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file, merged over the one file that it or a section of it `extends`.

    Raises:
        UserError: The file is missing, is not YAML, holds no mapping, or extends itself.
    """
    return _read(path, ())


def _read(path: Path, chain: tuple[Path, ...]) -> dict[str, Any]:
    named_by = f" (named under `extends:` in {chain[-1]})" if chain else ""
    data = written.read_yaml(path, named_by)
    if path.resolve() in chain:
        raise UserError(f"{path} extends itself by way of {chain[-1]}; take one `extends:` out.")
    return _extend(data, path, (*chain, path.resolve()))


def _extend(data: dict[str, Any], path: Path, chain: tuple[Path, ...]) -> dict[str, Any]:
    own = {
        key: _extend(value, path, chain) if isinstance(value, dict) and "extends" in value else value
        for key, value in data.items()
    }
    base = own.pop("extends", None)
    if base is None:
        return own
    if not isinstance(base, str):
        raise UserError(f"`extends` in {path} must name one file, but got {base!r}.")
    return merge(_read(path.parent / written.place(base), chain), own)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid on `base`: mappings merge, all else replaces; another component's `name` replaces too."""
    merged = dict(base)
    for key, value in over.items():
        old = _named(merged.get(key)) if isinstance(value, Mapping) else None
        same = isinstance(old, Mapping) and value.get("name", old.get("name")) == old.get("name")
        merged[key] = merge(old, value) if same and isinstance(old, Mapping) else value
    return merged


def _named(value: Any) -> Any:
    """A component given by its bare name, as a mapping; all else as it is."""
    return {"name": value} if isinstance(value, str) else value


def override(data: dict[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """`data` with every `a.b.0.c=value` applied; values are read as YAML.

    Raises:
        ConfigError: An assignment has no `=` or points into something that has no such place; all are reported.
    """
    problems = []
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        try:
            if not equals or not path:
                raise ValueError("must read key=value, as in optimizer.lr=3e-4")
            data = with_value(data, path.strip().split("."), written.parsed(text))
        except ValueError as error:
            problems.append(Problem(f"-s {assignment}", str(error)))
    if problems:
        raise ConfigError("the command line", problems)
    return data


def with_value(node: Any, path: list[str], value: Any) -> Any:
    """A copy of `node` in which the place at `path` holds `value`.

    Raises:
        ValueError: The path enters a list at no valid index, or enters a plain value.
    """
    if not path:
        return value
    key, *rest = path
    node = {} if node is None else _named(node)
    if isinstance(node, list):
        if not key.isdigit() or int(key) >= len(node):
            raise ValueError(f"'{key}' is no place in a list of {len(node)}; count from 0")
        return [with_value(item, rest, value) if i == int(key) else item for i, item in enumerate(node)]
    if not isinstance(node, Mapping):
        raise ValueError(f"'{key}' cannot be set inside the plain value {node!r}")
    return {**node, key: with_value(node.get(key), rest, value)}
