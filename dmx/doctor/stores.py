"""The folder of results: MLflow's database, the journals of studies and runs, and locks that are held."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil

from dmx.data.declaration import FILE
from dmx.data.layout import read as read_data
from dmx.doctor.finding import Finding, ok, wrong
from dmx.errors import UserError
from dmx.machine import lock_holders
from dmx.sweep.storage import read_journal
from dmx.tracking.home import JOURNAL, OPTUNA_JOURNAL, Home
from dmx.tracking.journal import read

SECTION = "stores"
RUNS = 200
"""Journals of runs to read, the latest first."""


def stores(home: Home) -> Iterator[Finding]:
    """Everything in the folder of results."""
    if not home.root.is_dir():
        yield ok(SECTION, f"{home.root} is not there yet; the first run makes it")
        return
    yield from mlflow_store(home.mlflow_db)
    yield from studies(home)
    yield from runs(home)
    yield from locks(home.root)


def mlflow_store(path: Path) -> Iterator[Finding]:
    """MLflow's database: whole, and of which version."""
    if not path.is_file():
        yield ok(SECTION, f"{path} is not there yet")
        return
    advice = "move it away, and `dmx sync --rebuild` makes it anew from the journals of the runs"
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=5)) as db:
            (said,) = db.execute("PRAGMA quick_check(1)").fetchone()
            version = db.execute("SELECT version_num FROM alembic_version").fetchone()
            (count,) = db.execute("SELECT count(*) FROM runs").fetchone()
    except sqlite3.Error as error:
        yield wrong(SECTION, f"{path}: cannot be read ({error})", advice)
        return
    if said != "ok":
        yield wrong(SECTION, f"{path}: is damaged ({said})", advice)
    else:
        yield ok(SECTION, f"{path}: {count:,} runs, schema {version[0] if version else 'unknown'}")


def studies(home: Home) -> Iterator[Finding]:
    """The journals of studies."""
    whole = 0
    for name in home.studies_with(OPTUNA_JOURNAL):
        try:
            read_journal(home.study(name))
            whole += 1
        except UserError as error:
            yield wrong(SECTION, str(error), "")
    yield ok(SECTION, f"{whole:,} studies whose journals are whole")


def runs(home: Home) -> Iterator[Finding]:
    """The journals of the latest runs."""
    there = sorted(home.runs.glob(f"*/{JOURNAL}"), key=lambda path: path.stat().st_mtime, reverse=True)
    whole = 0
    for path in there[:RUNS]:
        try:
            for _ in read(path):
                pass
            whole += 1
        except UserError as error:
            yield wrong(SECTION, str(error), "")
    more = f"; the {len(there) - RUNS:,} before were not read" if len(there) > RUNS else ""
    yield ok(SECTION, f"{whole:,} runs whose journals are whole{more}")


def locks(root: Path) -> Iterator[Finding]:
    """Which locks are held, and by whom."""
    for path, pid in sorted(lock_holders([path for path in root.rglob("*lock") if path.is_file()]).items()):
        if pid != os.getpid():
            yield ok(SECTION, f"{path} is held by {process(pid)}")


def process(pid: int) -> str:
    """A process by number and command."""
    try:
        return f"process {pid} ({' '.join(psutil.Process(pid).cmdline())[:100]})"
    except psutil.Error:
        return f"process {pid}, which cannot be looked at from here"


def data_sets(folder: Path) -> Iterator[Finding]:
    """The data sets in a folder and in its folders."""
    section = "data"
    found = [path.parent for pattern in (FILE, f"*/{FILE}") for path in sorted(folder.glob(pattern))]
    if not found:
        yield ok(section, f"no data set in {folder} yet")
    for root in found:
        try:
            index = read_data(root)
            index.check_files()
        except UserError as error:
            yield wrong(section, str(error), "")
            continue
        kind = "quartets" if index.has_background else "triplets"
        yield ok(section, f"{root}: {index.name}, {len(index.samples):,} {kind}, depth {index.depth.kind}")
