"""Whether a study that is there already is the one that is meant."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dmx.config import StudyConfig, parse_study
from dmx.errors import UserError, did_you_mean
from dmx.stored import intact
from dmx.sweep.claims import Claims
from dmx.sweep.database import open_database, shown
from dmx.tracking.files import replace_text

AFTER = ("trials", "train_best", "max_failures")
"""What may change between two starts: it decides how much is tried, not what."""
CONFIG, IDENTITY = "dmx.study", "dmx.identity"
STORAGE, IN_FOLDER = "storage.txt", "in its folder"


def check_same(config: StudyConfig, old: Any, where: str) -> None:
    """Make sure that the study of this name that is there, as plain data, searches for the same.

    Raises:
        UserError: It does not; the message lists the differences.
    """
    flat_old, flat_new = (
        {key: value for key, value in flat(data).items() if key.partition(".")[0] not in AFTER}
        for data in (old, json.loads(json.dumps(config.dump())))
    )
    changed = sorted(key for key in flat_old | flat_new if flat_old.get(key) != flat_new.get(key))
    if changed:
        lines = "".join(f"\n  {key}: {flat_old.get(key)!r} -> {flat_new.get(key)!r}" for key in changed)
        raise UserError(
            f"study '{config.name}' in {where} was made by another configuration:{lines}\n"
            "Give the changed study another `name`; trials of both would not compare."
        )


def check_storage(folder: Path, url: str | None) -> None:
    """Make sure that a study goes on where its trials are.

    Raises:
        UserError: They are elsewhere.
    """
    now, path = shown(url) if url else IN_FOLDER, folder / STORAGE
    before = now
    if path.is_file():
        with intact(path, "remove it, if the trials are where this command looks for them."):
            before = path.read_text()
            if before != IN_FOLDER and "://" not in before:
                raise ValueError(f"{before!r} is no place of trials")
    if before != now:
        which = "without --storage" if before == IN_FOLDER else f"--storage {before}"
        raise UserError(
            f"the trials of the study in {folder} are {before}, not {now}; go on with `{which}`, or give the study "
            "another `name`."
        )


def note_storage(folder: Path, url: str | None) -> None:
    """Put on record where a study's trials are."""
    replace_text(folder / STORAGE, shown(url) if url else IN_FOLDER)


def flat(data: Any, prefix: str = "") -> dict[str, Any]:
    """Nested plain data by dotted path."""
    if not isinstance(data, dict | list):
        return {prefix: data}
    items = data.items() if isinstance(data, dict) else enumerate(data)
    return {k: v for key, value in items for k, v in flat(value, f"{prefix}.{key}" if prefix else str(key)).items()}


def agree(claims: Claims, config: StudyConfig, identity: Mapping[str, Any]) -> None:
    """Keep the configuration and what it is measured on with the study itself, for those who join from elsewhere.

    Raises:
        UserError: Another configuration is there.
    """
    study = claims.fresh()
    if CONFIG in study.user_attrs:
        check_same(config, study.user_attrs[CONFIG], "its storage")
    study.set_user_attr(CONFIG, json.loads(json.dumps(config.dump())))
    study.set_user_attr(IDENTITY, json.loads(json.dumps(identity)))


def agreed(name: str, url: str) -> tuple[Claims, StudyConfig, dict[str, Any]]:
    """The queue, the configuration and what the study is measured on, from the database at `url`.

    Raises:
        UserError: There is no such study.
    """
    storage = open_database(url)
    known = {study.study_name: study for study in storage.get_all_studies()}
    if name not in known or CONFIG not in known[name].user_attrs:
        raise UserError(
            f"no study '{name}' at {shown(url)}; {did_you_mean(name, known)}. "
            "`dmx sweep STUDY.yaml --storage URL` begins one."
        )
    attrs = known[name].user_attrs
    config = parse_study(attrs[CONFIG], f"study '{name}'")
    return Claims(storage, name, config.trials), config, attrs[IDENTITY]
