"""The libraries of the extra `depth`."""

import importlib
from typing import Any

from dmx.errors import UserError


def extra(module: str) -> Any:
    """Import a library of the extra `depth`.

    Raises:
        UserError: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"a network of others needs {module}; install it by `pip install dmx[depth]`.") from error
