"""Measurements that take hours: each is written as soon as it is there, and what is there is not measured again."""

import json
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

Measurement = dict[str, Any]


def measure(path: Path, wanted: Iterable[tuple[dict[str, Any], Callable[[], dict[str, Any]]]]) -> list[Measurement]:
    """All measurements: those in the JSON lines at `path`, and those that are missing there.

    Args:
        path: The results.
        wanted: What identifies each measurement, and how it is made.
    """
    known = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    with path.open("a") as file:
        for key, work in wanted:
            if not any(key.items() <= one.items() for one in known):
                known.append({**key, **work(), "threads": torch.get_num_threads()})
                print(json.dumps(known[-1]), file=sys.stderr, flush=True)
                file.write(json.dumps(known[-1]) + "\n")
                file.flush()
    return known


def spread(values: Sequence[float], digits: int) -> str:
    """The mean, with the least and the greatest: `0.92 (0.91 to 0.93)`; `-` where there is none."""
    if not values:
        return "-"
    ends = f" ({min(values):.{digits}f} to {max(values):.{digits}f})" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{ends}"
