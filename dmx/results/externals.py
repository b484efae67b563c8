"""Networks of others that were evaluated on the validation samples of runs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmx.stored import read_mapping
from dmx.tracking.home import EVALUATION, EVALUATION_SAMPLES, EVALUATIONS, EXTERNAL, Home

NEEDED = ("part", "data", "split", "size", "definitions", "values")


@dataclass(frozen=True)
class External:
    """A network of others on the validation samples of runs.

    Attributes:
        name: Its folder's name.
        facts: Its file, digest and settings.
        values: Every metric by its full name, without `val/`; None where it has no value.
        samples: The table of its samples' metrics.
    """

    name: str
    facts: Mapping[str, Any]
    values: Mapping[str, float | None]
    samples: Path


def is_external(home: Home, name: str) -> bool:
    """Whether a folder of `runs` is that of a network of others."""
    return (home.run(name) / EXTERNAL).is_file()


def externals(home: Home, record: Mapping[str, Any]) -> list[External]:
    """The networks of others that were evaluated like the run with this record: their names, in order."""
    return [one for name in home.runs_with(EXTERNAL) for one in evaluated(home, name, record)]


def evaluated(home: Home, name: str, record: Mapping[str, Any]) -> Iterator[External]:
    """The evaluation of a network of others on the data, split, size and definitions of a run's record, if any.

    Raises:
        UserError: A file is damaged.
    """
    folder = home.run(name)
    for path in sorted((folder / EVALUATIONS).glob(f"*/{EVALUATION}")):
        kept = read_mapping(path, f"remove {path.parent} and evaluate {name} again.", *NEEDED)
        if agrees(kept, record):
            facts = read_mapping(folder / EXTERNAL, f"remove {folder} and evaluate {name} again.")
            yield External(name, facts, kept["values"], path.parent / EVALUATION_SAMPLES)
            return


def agrees(kept: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    """Whether an evaluation's values are comparable with those of a run: equal definitions of the metrics of both."""
    same = all(kept[key] == record.get(key) for key in ("data", "split", "size"))
    definitions = record.get("definitions") or {}
    shared = kept["definitions"].keys() & definitions.keys()
    return kept["part"] == "val" and same and all(kept["definitions"][key] == definitions[key] for key in shared)
