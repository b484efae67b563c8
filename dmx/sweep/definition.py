"""A study's stored definition: in its folder, and in its Optuna storage for workers on other machines."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from dmx.config import StudyConfig, parse_study
from dmx.config.experiment import decisive
from dmx.config.paths import values_by_path
from dmx.errors import UserError, did_you_mean
from dmx.stored import intact, replace_text
from dmx.sweep.storage import open_database, read_journal, without_password
from dmx.sweep.trial_queue import TrialQueue, check_runs
from dmx.tracking.home import OPTUNA_JOURNAL, STORAGE, STUDY, Home
from dmx.written import read_yaml

IN_FOLDER = "in its folder"
CONFIG, IDENTITY = "dmx.study", "dmx.identity"
"""User attributes of the study in Optuna's storage: its configuration, and the data identity shared by its runs."""
CHANGEABLE = ("trials", "train_best", "max_failures")
"""Keys that may change between two starts: they set the size of the search, not its definition."""


def without_newer(study: Any) -> Any:
    """A dumped study without newer settings of the experiment that it does not use."""
    experiment = study.get("experiment") if isinstance(study, Mapping) else None
    return {**study, "experiment": decisive(experiment)} if isinstance(experiment, Mapping) else study


def check_unchanged(config: StudyConfig, stored: Any, where: str) -> None:
    """Check that `config` equals the stored configuration of the study, except for the keys in `CHANGEABLE`.

    Raises:
        UserError: The configurations differ; the message lists the differences.
    """
    old, new = (
        {key: value for key, value in values_by_path(data).items() if key.partition(".")[0] not in CHANGEABLE}
        for data in (without_newer(stored), without_newer(json.loads(json.dumps(config.dump()))))
    )
    changed = sorted(key for key in old | new if old.get(key) != new.get(key))
    if changed:
        lines = "".join(f"\n  {key}: {old.get(key)!r} -> {new.get(key)!r}" for key in changed)
        raise UserError(
            f"study '{config.name}' in {where} was made by another configuration:{lines}\n"
            "Give the changed study another `name`; trials of both would not compare."
        )


def check_storage(folder: Path, url: str | None) -> None:
    """Check that a study is resumed with the storage that holds its trials.

    Raises:
        UserError: The trials are in another storage.
    """
    now, path = without_password(url) if url else IN_FOLDER, folder / STORAGE
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


def store_storage(folder: Path, url: str | None) -> None:
    """Record in the study's folder which storage holds its trials."""
    replace_text(folder / STORAGE, without_password(url) if url else IN_FOLDER)


def store_config(folder: Path, config: StudyConfig) -> None:
    """Store a study's configuration in its folder."""
    replace_text(folder / STUDY, yaml.safe_dump(config.dump(), sort_keys=False))


def share_definition(queue: TrialQueue, config: StudyConfig, identity: Mapping[str, Any]) -> None:
    """Store the configuration and the data identity in Optuna's storage, for workers that join from other machines.

    Raises:
        UserError: The storage already has another configuration.
    """
    study = queue.load_study()
    if CONFIG in study.user_attrs:
        check_unchanged(config, study.user_attrs[CONFIG], "its storage")
    study.set_user_attr(CONFIG, json.loads(json.dumps(config.dump())))
    study.set_user_attr(IDENTITY, json.loads(json.dumps(identity)))


def load_shared(name: str, url: str) -> tuple[TrialQueue, StudyConfig, dict[str, Any]]:
    """Load the trials, the configuration and the data identity of a study from the database at `url`.

    Raises:
        UserError: There is no such study.
    """
    storage = open_database(url)
    known = {study.study_name: study for study in storage.get_all_studies()}
    if name not in known or CONFIG not in known[name].user_attrs:
        raise UserError(
            f"no study '{name}' at {without_password(url)}; {did_you_mean(name, known)}. "
            "`dmx sweep STUDY.yaml --storage URL` begins one."
        )
    attrs = known[name].user_attrs
    config = parse_study(attrs[CONFIG], f"study '{name}'")
    return TrialQueue(storage, name, config.trials), config, attrs[IDENTITY]


def load_config(home: Home, name: str) -> StudyConfig:
    """The configuration of a study in `home`.

    Raises:
        UserError: There is no study of that name.
    """
    path = home.study(name) / STUDY
    if not path.is_file():
        known = did_you_mean(name, home.studies_with(STUDY))
        raise UserError(f"no study '{name}' in {home.root}; {known}. `dmx sweep` makes one.")
    return parse_study(read_yaml(path), str(path))


def load_trials(home: Home, name: str, url: str | None) -> tuple[StudyConfig, TrialQueue]:
    """Load a study's configuration and trials read-only, from `home` or from the database at `url`.

    Raises:
        UserError: There is no such study, or its trials are in another storage.
    """
    if url is not None:
        queue, config, _ = load_shared(name, url)
        return config, queue
    config, folder = load_config(home, name), home.study(name)
    check_storage(folder, None)
    if not (folder / OPTUNA_JOURNAL).is_file():
        check_runs(home, name, range(config.trials), list)
        raise UserError(f"{folder} has no {OPTUNA_JOURNAL}; the same `dmx sweep` begins it anew.")
    storage = read_journal(folder)
    objectives = {study.study_name: len(study.directions) for study in storage.get_all_studies()}
    if objectives.get(name) != len(config.goals):
        check_runs(home, name, range(config.trials), list)
        raise UserError(
            f"{folder / OPTUNA_JOURNAL}: is damaged (study '{name}' is not in it, or has other objectives); restore it "
            "from a copy, or remove it, and the same `dmx sweep` begins it anew."
        )
    queue = TrialQueue(storage, name, config.trials)
    check_runs(home, name, range(config.trials), queue.trials)
    return config, queue
