"""Read YAML and overrides as plain data: `extends:`, merging and `-s a.b=c`."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dmx import written
from dmx.config.paths import named, with_value
from dmx.errors import ConfigError, Problem, UserError


def read_yaml(path: Path) -> dict[str, Any]:
    """Read the mapping in a YAML file, merged over the files that it or its sections name in `extends`.

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
    """Merge `over` into `base`: mappings merge; other values, and components of another `name`, replace."""
    merged = dict(base)
    for key, value in over.items():
        old = named(merged.get(key)) if isinstance(value, Mapping) else None
        same = isinstance(old, Mapping) and value.get("name", old.get("name")) == old.get("name")
        merged[key] = merge(old, value) if same and isinstance(old, Mapping) else value
    return merged


def override(data: dict[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """Apply every `a.b.0.c=value` to `data`; values are read as YAML.

    Raises:
        ConfigError: An assignment has no `=`, or its path cannot exist; all problems are reported.
    """
    problems = []
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        try:
            if not equals or not path:
                raise ValueError("must read key=value, as in optimizer.lr=3e-4")
            data = with_value(data, path.strip(), written.parsed(text))
        except ValueError as error:
            problems.append(Problem(f"-s {assignment}", str(error)))
    if problems:
        raise ConfigError("the command line", problems)
    return data
