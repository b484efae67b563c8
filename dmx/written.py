"""Parsing of user input: YAML (experiments, data sets, mappings, `-s`) and paths.

YAML is read by PyYAML, extended to numbers such as 3e-4. ruamel.yaml was tried and rejected: its import takes 135 ms
instead of 18; it expands aliases without a limit and accepts recursive ones, so our walk over the nodes would still be
needed; and `yes`, `010` and `1:30` in users' files would change their meaning.
"""

import os
import re
import sys
from pathlib import Path
from typing import Any

import yaml

from dmx.errors import UserError

LARGEST = 2**20
"""Largest YAML file in bytes: a hundred times the longest configuration; parsing it takes some seconds."""
MOST = 100_000
"""Most values in a file after expanding its aliases (`*name`)."""
LONGEST_PATH, LONGEST_NAME = 4095, 255
"""Longest path, and longest name in it, in bytes, that file systems support."""
MERGE = "tag:yaml.org,2002:merge"


class Loader(yaml.SafeLoader):
    """Safe YAML that reads 3e-4 as a number."""


Loader.add_implicit_resolver(  # YAML 1.1 requires a dot and a sign, so 3e-4, 1.5e3 and .5e3 would be strings
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def read_yaml(path: Path, named_by: str = "") -> dict[str, Any]:
    """Read the mapping in a YAML file.

    Args:
        path: The file.
        named_by: Where the path comes from, for messages.

    Raises:
        UserError: The file is missing, cannot be read, is not YAML, or is not a mapping.
    """
    try:
        if not path.is_file():
            raise UserError(f"no file {path}{named_by}; check the path.")
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        raise UserError(f"{path}{named_by} cannot be read ({_reason(error)}); check the path.") from None
    if len(data) > LARGEST:
        raise UserError(f"{path} is larger than {LARGEST // 2**20} MiB, so it is no YAML that a person wrote.")
    try:
        found = parsed(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not readable YAML: it is not text in UTF-8 ({error}); save it as such.") from None
    except ValueError as error:
        raise UserError(f"{path} is not readable YAML: {error}") from None
    if not isinstance(found, dict):
        kind = "nothing" if found is None else type(found).__name__
        raise UserError(f"{path} must hold a mapping of keys to values, but holds {kind}.")
    return found


def parsed(text: str) -> Any:
    """Parse a YAML text.

    Raises:
        ValueError: The text is not YAML, or has a duplicate key or a recursive alias; the message starts with the line.
    """
    loader = Loader("")
    try:
        loader = Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _count_values(loader, node, {}, set())
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise _describe(error) from None
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    finally:
        loader.dispose()


def _count_values(loader: Loader, node: yaml.Node, known: dict[int, int], above: set[int]) -> int:
    """Count the values of a node, and refuse duplicate keys and recursive aliases.

    This works on the nodes, before they are constructed: nested aliases ("billion laughs") can expand a few hundred
    bytes to an unbounded number of values.
    """
    if id(node) in above:
        raise _at(node, "an alias contains itself")
    if isinstance(node, yaml.ScalarNode):
        _construct(loader, node)
        return 1
    if id(node) in known:
        return known[id(node)]
    above.add(id(node))
    children = node.value
    if isinstance(node, yaml.MappingNode):
        _refuse_duplicate_keys(loader, node)
        children = [child for pair in node.value for child in pair]
    total = 1 + sum(_count_values(loader, child, known, above) for child in children)
    if total > MOST:
        raise _at(node, f"comes to more than {MOST:,} values")
    above.remove(id(node))
    known[id(node)] = total
    return total


def _refuse_duplicate_keys(loader: Loader, node: yaml.MappingNode) -> None:
    seen = set()
    for key_node, _ in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise _at(key_node, "a list or a mapping cannot be a key")
        key = _construct(loader, key_node)
        if key in seen:
            raise _at(key_node, f"key '{key}' is given twice")
        seen.add(key)


def _construct(loader: Loader, node: yaml.ScalarNode) -> Any:
    """Construct a plain value; the loader caches it."""
    if node.tag == MERGE:
        return node.value
    try:
        return loader.construct_object(node)
    except (ValueError, TypeError, KeyError, AttributeError) as error:  # an impossible date, or `!!bool 3`
        raise _at(node, f"'{node.value}' is no {node.tag.rpartition(':')[2]} ({error})") from None


def _at(node: yaml.Node, what: str) -> ValueError:
    return ValueError(f"line {node.start_mark.line + 1}: {what}")


def _describe(error: yaml.MarkedYAMLError) -> ValueError:
    mark = error.problem_mark or error.context_mark
    what = ", ".join(part for part in (error.context, error.problem) if part)
    return ValueError(f"line {mark.line + 1}, column {mark.column + 1}: {what}" if mark else what)


def place(text: str | Path) -> Path:
    """Convert user input to a path: `~` is expanded; variables (`$NAME`) are left to the shell.

    Raises:
        UserError: The path is impossible: it has a zero byte, is too long, or cannot be encoded on this system.
    """
    path = os.path.expanduser(text)  # noqa: PTH111 - pathlib's version fails without a home folder
    if "\0" in path:
        raise UserError(f"{path!r} is no path: it holds a zero byte; check it.")
    try:
        data = os.fsencode(path)
    except UnicodeEncodeError:
        raise UserError(
            f"{path} is no path where names of files are in {sys.getfilesystemencoding()}, as this system's language "
            "settings say; set PYTHONUTF8=1 or LC_ALL=C.UTF-8."
        ) from None
    if len(data) > LONGEST_PATH or any(len(name) > LONGEST_NAME for name in data.split(b"/")):
        raise UserError(f"{path} is no path: it, or a name in it, is too long; check it.")
    return Path(path)


def not_filled_in(path: Path) -> str:
    """Return the hint to add to a message about a missing path that contains a variable."""
    found = re.search(r"\$\w+|\$\{\w+\}", str(path))
    return f" ({found[0]} is taken literally: variables are not filled in)" if found else ""


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
