"""The storages keep what Optuna demands of every storage, and what dmx adds to its journal."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.serving import served
from optuna.storages import BaseStorage
from optuna.testing.pytest_storages import StorageTestCase

from dmx.sweep.storage import open_database, open_journal


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
