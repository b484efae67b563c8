"""The libraries of the extra `depth`: of networks of others, and of exported ones."""

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
        library = module.partition(".")[0]
        raise UserError(f"this needs {library}; install it by `pip install dmx[depth]`.") from error
