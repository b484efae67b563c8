"""Files that are there whole or not at all."""

import os
from pathlib import Path


def replace_bytes(path: Path, data: bytes) -> None:
    """Write `path`; a kill in the middle leaves the old content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    part.replace(path)


def replace_text(path: Path, text: str) -> None:
    """Write `path` in UTF-8; a kill or a loss of power in the middle leaves the old content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
