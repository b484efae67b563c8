"""What is left of runs and studies: every file that a command reads again, damaged."""

import json
import os
import shutil
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import yaml
from helpers.fuzzing import COUNTS, Door, command, fuzz
from helpers.homes import PLACE, copy_home
from helpers.mutating import mutated_bytes, mutated_text, one_of
from helpers.mutating_values import mutated_json, mutated_value

from dmx.sample_table import SampleTable
from dmx.tracking import Home
from dmx.tracking.home import JOURNAL
from dmx.tracking.journal import read
from dmx.tracking.run import last_steps

pytestmark = pytest.mark.usefixtures("home")


class Results(Door):
    """The result of a run or a trial, before whoever reads all of them."""

    few = 150
    commands: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("leaderboard", "--json"),
        ("leaderboard", "st", "--csv"),
        ("gc",),
    )
    arguments: tuple[str, ...] = commands[0]

    def make(self) -> None:
        self.home = copy_home(self.folder)
        self.table = self.home / "runs/r/val_samples.parquet"

    def warm(self) -> None:
        for arguments in self.commands:
            self.arguments = arguments
            super().warm()

    def choose(self, rng: np.random.Generator) -> None:
        self.arguments = one_of(rng, self.commands)

    def mutate(self, rng: np.random.Generator) -> object:
        self.choose(rng)
        path = self.home / "runs" / one_of(rng, ("r", "st-0000", "st-0001")) / "result.json"
        data = mutated_json(json.loads(self.whole(path)), rng)
        path.write_bytes(data)
        return self.arguments, path.parent.name, data

    def enter(self) -> tuple[int, str]:
        return command(*self.arguments, "--home", self.home)


class ComparedResults(Results):
    """The same before commands that draw samples again and again."""

    few, many = 10, 500
    commands = (("compare", "r", "st-0001"), ("compare", "r", "st-0001", "--json"), ("leaderboard", "st"))


class Tables(Results):
    """The table of validation samples."""

    few = 200

    def mutate(self, rng: np.random.Generator) -> object:
        self.choose(rng)
        self.table = self.home / "runs" / one_of(rng, ("r", "st-0001")) / "val_samples.parquet"
        self.table.write_bytes(mutated_bytes(self.whole(self.table), rng))
        return self.arguments, self.table.parent.name

    def enter(self) -> tuple[int, str] | None:
        found = SampleTable.load(self.table)
        for name in found.sums:
            found.values(name)
        return None


class ComparedTables(Tables):
    """The same before commands that draw samples again and again."""

    few, many = 10, 500
    commands = ComparedResults.commands

    def enter(self) -> tuple[int, str]:
        return command(*self.arguments, "--home", self.home)


class Studies(Results):
    """Optuna's journal, the configuration and the notes of a study."""

    few = 150
    commands = (
        ("explain", "st", "1"),
        ("report", "st"),
        ("leaderboard", "st"),
        ("gc",),
    )

    def mutate(self, rng: np.random.Generator) -> object:
        self.choose(rng)
        path = one_of(rng, [path for path in (self.home / "studies/st").iterdir() if path.suffix != ".lock"])
        whole = self.whole(path)
        if path.suffix == ".journal" and rng.random() < 0.5:
            lines = whole.splitlines()
            at = int(rng.integers(len(lines)))
            lines[at] = json.dumps(mutated_value(json.loads(lines[at]), rng)).encode()
            data = b"\n".join(lines) + b"\n"
        else:
            data = one_of(
                rng, (mutated_bytes(whole, rng), mutated_text(whole.decode(), rng).encode("utf-8", "replace"))
            )
        path.write_bytes(data)
        return self.arguments, path.name, data


class Journals(Door):
    """The journal of a run, opened again and read to its end."""

    few = 300

    def make(self) -> None:
        self.path = self.folder / JOURNAL
        shutil.copy(Path(os.environ[PLACE]) / "home/runs/r" / JOURNAL, self.path)
        self.lines = self.path.read_bytes().splitlines()

    def mutate(self, rng: np.random.Generator) -> object:
        if rng.random() < 0.5:
            data = mutated_bytes(self.whole(self.path), rng)
        else:
            lines = list(self.lines)
            at = int(rng.integers(len(lines)))
            lines[at] = mutated_json(json.loads(lines[at]), rng).replace(b"\n", b"")
            data = b"\n".join(lines) + b"\n"
        self.path.write_bytes(data)
        return data[-3000:]

    def enter(self) -> None:
        for _ in read(self.path):
            pass
        last_steps(self.path)


class Weights(Results):
    """What a network is made of again: weights, configuration, how its depth is read, identity and split."""

    few, many = 100, 2_000
    files = ("best.safetensors", "config.yaml", "depth.json", "identity.json", "split.json")

    def mutate(self, rng: np.random.Generator) -> object:
        path = self.home / "runs/r" / one_of(rng, self.files)
        whole = self.whole(path)
        data = mutated_json(json.loads(whole), rng) if path.suffix == ".json" else mutated_bytes(whole, rng)
        path.write_bytes(data)
        return path.name, data[:3000]

    def enter(self) -> None:
        from dmx.experiment.evaluate import evaluate
        from dmx.experiment.trained import trained

        home = Home(self.home)
        evaluate(trained(home, "r"), self.folder / "data", "test", home)


class States(Door):
    """The checkpoint itself."""

    few = 200

    def make(self) -> None:
        self.path = self.folder / "checkpoint.pt"
        shutil.copy(Path(os.environ[PLACE]) / "home/runs/r/checkpoint.pt", self.path)

    def mutate(self, rng: np.random.Generator) -> object:
        data = mutated_bytes(self.whole(self.path), rng)
        self.path.write_bytes(data)
        return len(data)

    def enter(self) -> None:
        from dmx.training.checkpoint import load_state

        load_state(self.path)


class Resumed(Results):
    """The checkpoint and the notes of a run that goes on."""

    few, many = 30, 1_000
    files = ("checkpoint.pt", "identity.json", "journal.jsonl")

    def mutate(self, rng: np.random.Generator) -> object:
        (self.home / "runs/r/result.json").unlink()
        path = self.home / "runs/r" / one_of(rng, self.files)
        path.write_bytes(mutated_bytes(self.whole(path), rng))
        return path.name

    def enter(self) -> None:
        from helpers.running import execute

        execute(yaml.safe_load((Path(os.environ[PLACE]) / "home/runs/r/config.yaml").read_text()), self.home)


@COUNTS
def test_results(count: str) -> None:
    fuzz(Results, count)


@COUNTS
def test_compared_results(count: str) -> None:
    fuzz(ComparedResults, count)


@COUNTS
def test_compared_tables(count: str) -> None:
    fuzz(ComparedTables, count)


@COUNTS
def test_checkpoints(count: str) -> None:
    fuzz(States, count)


@COUNTS
def test_runs_that_go_on(count: str) -> None:
    fuzz(Resumed, count)


@COUNTS
def test_tables_of_samples(count: str) -> None:
    fuzz(Tables, count)


@COUNTS
def test_studies(count: str) -> None:
    fuzz(Studies, count)


@COUNTS
def test_journals(count: str) -> None:
    fuzz(Journals, count)


@COUNTS
def test_weights(count: str) -> None:
    fuzz(Weights, count)
