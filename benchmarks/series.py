"""Measurements that take hours: each is written as soon as it is there, and what is there is not measured again."""

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from dmx.outcome import Outcome
from dmx.registry import load
from dmx.training.result import BestEpoch, RunResult

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


def best_epoch(result: RunResult) -> BestEpoch | None:
    """The best epoch of a training; None if it has none.

    Raises:
        KeyboardInterrupt: It was interrupted, so it is not kept; started again, the command trains it anew.
    """
    if result.outcome is Outcome.INTERRUPTED:
        raise KeyboardInterrupt
    return result.best


def arguments(doc: str | None, results: Path, *, figure: bool = True) -> argparse.ArgumentParser:
    """A parser with the options `--results` and `--figure`, the latter where there is a `figure`."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=results)
    if figure:
        parser.add_argument("--figure", type=Path, help="where the figure goes")
    return parser


def report(
    options: argparse.Namespace,
    wanted: Iterable[tuple[dict[str, Any], Callable[[], dict[str, Any]]]],
    table: Callable[[list[Measurement]], Iterable[str]],
    draw: Callable[[list[Measurement], Path], None] | None = None,
) -> None:
    """Measure what is missing, print the table, and draw the figure if there is one and it is asked for."""
    load()
    known = measure(options.results, wanted)
    print("\n".join(table(known)))
    if draw and options.figure:
        draw(known, options.figure)


def spread(values: Sequence[float], digits: int) -> str:
    """The mean, with the least and the greatest: `0.92 (0.91 to 0.93)`; `-` where there is none."""
    if not values:
        return "-"
    ends = f" ({min(values):.{digits}f} to {max(values):.{digits}f})" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{ends}"
