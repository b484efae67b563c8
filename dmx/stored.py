"""What dmx wrote itself, read back: whole, or refused in one message that names the file and the way out.

A disk, a copy that was cut, an editor or another version may have changed it since.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from dmx.errors import UserError

LONGEST = 200
"""Characters of what a reader says of a damaged file."""


@contextmanager
def intact(path: Path, advice: str) -> Iterator[None]:
    """Around the reading of a file: whatever a reader raises of a damaged one becomes one message.

    Raises:
        UserError: The file is gone, or cannot be read as what it is; `advice` says what to do.
    """
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{path}: is gone; {advice}") from error
    except Exception as error:  # readers of damaged files raise anything, RecursionError and MemoryError among it
        told = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{path}: is damaged ({told[:LONGEST]}); {advice}") from error


def read_json(path: Path, advice: str) -> Any:
    """The JSON in a file.

    Raises:
        UserError: It is damaged.
    """
    with intact(path, advice):
        return json.loads(path.read_bytes(), parse_constant=_refuse)


def read_mapping(path: Path, advice: str, *needed: str) -> dict[str, Any]:
    """The JSON object in a file, which has these keys.

    Raises:
        UserError: It is damaged.
    """
    with intact(path, advice):
        found = read_json(path, advice)
        if not isinstance(found, dict):
            raise TypeError(f"holds {type(found).__name__} where keys and values are needed")
        if missing := [key for key in needed if key not in found]:
            raise KeyError(f"lacks {', '.join(missing)}")
        return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")
