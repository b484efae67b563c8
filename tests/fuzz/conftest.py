"""A folder of results, made once for all doors that need one."""

import os
from pathlib import Path

import pytest
from filelock import FileLock
from helpers.homes import PLACE, make_home


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs and a study with their data, which doors copy; processes of pytest share it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    made, whole = shared / "results", shared / "results.whole"
    with FileLock(shared / "results.lock"):
        if not whole.exists():
            make_home(made)
            whole.touch()
    os.environ[PLACE] = str(made)
    return made
