"""Networks of others that were evaluated on the validation samples of runs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from dmx.stored import intact, read_mapping
from dmx.tracking.home import EVALUATION, EVALUATION_SAMPLES, EVALUATIONS, EXTERNAL, Home


class Kept(BaseModel):
    """What of a stored evaluation is read again."""

    part: str
    data: str
    split: str | None
    size: tuple[int, int]
    definitions: dict[str, str]
    values: dict[str, float | None]


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
        advice = f"remove {path.parent} and evaluate {name} again."
        with intact(path, advice):
            kept = Kept.model_validate(read_mapping(path, advice))
        if agrees(kept, record):
            facts = read_mapping(folder / EXTERNAL, f"remove {folder} and evaluate {name} again.")
            yield External(name, facts, kept.values, path.parent / EVALUATION_SAMPLES)
            return


def agrees(kept: Kept, record: Mapping[str, Any]) -> bool:
    """Whether an evaluation's values are comparable with those of a run: equal definitions of the metrics of both."""
    same = all(getattr(kept, key) == record.get(key) for key in ("data", "split"))
    definitions = record.get("definitions") or {}
    shared = kept.definitions.keys() & definitions.keys()
    return (
        kept.part == "val"
        and same
        and [*kept.size] == record.get("size")
        and all(kept.definitions[key] == definitions[key] for key in shared)
    )
