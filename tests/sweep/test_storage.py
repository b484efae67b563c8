"""The storages keep what Optuna demands of every storage, and what dmx adds to its journal."""

import json
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from helpers.serving import served
from optuna.storages import BaseStorage
from optuna.testing.pytest_storages import StorageTestCase
from optuna.trial import TrialState, create_trial

from dmx.errors import UserError
from dmx.sweep.storage import open_database, open_journal, read_journal
from dmx.tracking.home import OPTUNA_JOURNAL


class TestJournal(StorageTestCase):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> BaseStorage:
        return open_journal(tmp_path)


@pytest.mark.filterwarnings("ignore:XDG_RUNTIME_DIR is not set")  # pgserver asks platformdirs
@pytest.mark.filterwarnings("ignore:Argument ``heartbeat_interval`` is an experimental feature")
class TestDatabase(StorageTestCase):
    @pytest.fixture(scope="class")
    def url(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
        with served(tmp_path_factory.mktemp("pg")) as url:
            yield url

    @pytest.fixture
    def storage(self, url: str) -> Iterator[BaseStorage]:
        storage = open_database(url)
        for study in storage.get_all_studies():
            storage.delete_study(study._study_id)
        yield storage
        storage._backend.engine.dispose()  # the server has 100 connections for all of these tests


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value": "high"}, "values.0 Input should be a valid number"),
        ({"value": [1.0]}, "values.0 Input should be a valid number"),
        ({"value": None}, "trial 0 is complete, with None for 1 objectives"),
        ({"value": None, "values": [1.0, 2.0]}, r"trial 0 is complete, with \[1.0, 2.0\] for 1 objectives"),
        ({"value": float("inf")}, r"trial 0 is complete, with \[inf\] for 1 objectives"),
        ({"user_attrs": 7}, "user_attrs Input should be a valid dictionary"),
        ({"system_attrs": None}, "system_attrs Input should be a valid dictionary"),
        ({"intermediate_values": {"1": "low"}}, "intermediate_values.1 Input should be a valid number"),
    ],
)
def test_a_journal_with_a_wrong_field_is_refused(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    trial = create_trial(value=1.0, intermediate_values={1: 2.0})
    optuna.create_study(storage=open_journal(tmp_path), study_name="st").add_trial(trial)
    path = tmp_path / OPTUNA_JOURNAL
    *lines, last = path.read_text().splitlines()
    path.write_text("\n".join([*lines, json.dumps({**json.loads(last), **changes})]) + "\n")
    with pytest.raises(UserError, match=rf"optuna.journal: is damaged \(.*{message}.*\); restore it from a copy"):
        read_journal(tmp_path)


def test_a_pruned_trial_may_have_seen_an_infinite_value(tmp_path: Path) -> None:
    study = optuna.create_study(storage=open_journal(tmp_path), study_name="st")
    trial = study.ask()
    trial.report(float("inf"), 1)
    study.tell(trial, state=TrialState.PRUNED)
    (found,) = read_journal(tmp_path).get_all_trials(0)
    assert (found.values, found.intermediate_values) == ([float("inf")], {1: float("inf")})
