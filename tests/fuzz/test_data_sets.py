"""What says how a data set is read: declaration, list of samples, split, statistics, mapping and manifest."""

import csv
import io
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from helpers.fuzzing import COUNTS, Door, command, fuzz
from helpers.mutating import mutated_bytes, mutated_csv, one_of
from helpers.mutating_values import mutated_json, mutated_value, mutated_yaml

from dmx.data.layout import DatasetIndex, read
from dmx.data.split import Split, split
from dmx.datatools.stats import current_stats, stats, write_stats
from dmx.datatools.synth import synth
from dmx.results.records import kept_text


def used(index: DatasetIndex) -> None:
    """What training asks of a data set before it opens pictures."""
    index.check_files()
    index.fingerprint()
    _ = index.has_background, index.declaration.depth and index.depth
    split(index, val=0.25, test=0.25, seed=0, by="group")


class DataSet(Door):
    """Twelve quartets."""

    def make(self) -> None:
        self.root = self.folder / "data"
        synth(self.root, count=12, size=16, seed=0, workers=1)


class Declarations(DataSet):
    """`dataset.yaml`."""

    few = 300

    def make(self) -> None:
        super().make()
        self.path = self.root / "dataset.yaml"
        self.declared: dict[str, Any] = yaml.safe_load(self.path.read_text())

    def mutate(self, rng: np.random.Generator) -> bytes:
        data = mutated_yaml(self.declared, rng)
        self.path.write_bytes(data)
        return data

    def enter(self) -> None:
        used(read(self.root))


class Lists(DataSet):
    """`samples.csv`."""

    few = 300

    def make(self) -> None:
        super().make()
        self.path = self.root / "samples.csv"
        self.rows = list(csv.reader(io.StringIO(self.path.read_text())))

    def mutate(self, rng: np.random.Generator) -> bytes:
        data = mutated_csv(self.rows, rng)
        self.path.write_bytes(data)
        return data

    def enter(self) -> None:
        used(read(self.root))


class Checks(Lists):
    """`dmx data check` on a list that was changed: it finds what is wrong, or refuses."""

    few = 60
    codes = (0, 1, 2)

    def enter(self) -> tuple[int, str]:
        return command("data", "check", self.root, "--workers", 1)


class Splits(Door):
    """The split that is stored with a run."""

    few = 300

    def make(self) -> None:
        self.parts = {"train": ["a", "b", "c"], "val": ["d"], "test": ["e", "f"]}
        self.path = self.folder / "split.json"
        self.path.write_text(json.dumps(self.parts))

    def mutate(self, rng: np.random.Generator) -> bytes:
        data = mutated_json(self.parts, rng)
        self.path.write_bytes(data)
        return data

    def enter(self) -> None:
        _ = Split.from_json(kept_text(self.path), str(self.path)).fingerprint


class Statistics(DataSet):
    """`stats.json`."""

    few = 300

    def make(self) -> None:
        super().make()
        index = read(self.root)
        write_stats(self.root, stats(index, workers=1))
        self.path = self.root / "stats.json"
        self.found = json.loads(self.path.read_text())

    def mutate(self, rng: np.random.Generator) -> bytes:
        data = mutated_json(self.found, rng)
        self.path.write_bytes(data)
        return data

    def enter(self) -> tuple[int, str]:
        current_stats(read(self.root))
        return command("data", "stats", self.root, "--workers", 1)


class Mappings(DataSet):
    """The YAML file that maps foreign pictures to samples."""

    few = 200

    def make(self) -> None:
        super().make()
        self.path, self.out = self.folder / "mapping.yaml", self.folder / "out"
        self.mapping = {
            "name": "mapped",
            "folder": "data",
            "files": {"image": "image/*.png", "mask": "mask/*.png", "depth": "depth/*.png"},
            "group": "(.)$",
            "depth": {"kind": "metric", "scale": 0.001, "range": [0.1, 100.0], "unknown": [0]},
            "mask": {"threshold": 127},
        }
        self.path.write_text(yaml.safe_dump(self.mapping))

    def mutate(self, rng: np.random.Generator) -> bytes:
        data = mutated_yaml(self.mapping, rng)
        self.path.write_bytes(data)
        return data

    def enter(self) -> tuple[int, str]:
        return command("data", "import", "mapping", self.path, self.out)


class Manifests(Mappings):
    """The table that a mapping names, as CSV and as Parquet."""

    few = 200

    def make(self) -> None:
        super().make()
        self.names = ("frame", "rgb", "segments", "depth", "scene")
        ids = [path.stem for path in sorted((self.root / "image").iterdir())]
        self.rows = [
            self.names,
            *((one, f"image/{one}.png", f"mask/{one}.png", f"depth/{one}.png", one) for one in ids),
        ]
        self.tables = self.folder / "list.csv", self.folder / "list.parquet"
        self.tables[0].write_text("\n".join(map(",".join, self.rows)) + "\n")
        self._parquet(dict(zip(self.names, map(list, zip(*self.rows[1:], strict=True)), strict=True)))
        columns = dict(zip(("id", "image", "mask", "depth", "group"), self.names, strict=True))
        for table in self.tables:
            rest = {key: value for key, value in self.mapping.items() if key not in ("files", "group")}
            text = yaml.safe_dump({**rest, "manifest": table.name, "columns": columns})
            table.with_suffix(table.suffix + ".yaml").write_text(text)
        self.path = self.folder / "list.csv.yaml"

    def _parquet(self, columns: dict[str, Any]) -> None:
        pq.write_table(pa.table(columns), self.tables[1])

    def mutate(self, rng: np.random.Generator) -> object:
        table = one_of(rng, self.tables)
        self.path = table.with_suffix(table.suffix + ".yaml")
        if table.suffix == ".csv":
            table.write_bytes(mutated_csv(self.rows, rng))
        elif rng.random() < 0.7:
            table.write_bytes(mutated_bytes(self.whole(table), rng))
        else:
            columns = dict(zip(self.names, map(list, zip(*self.rows[1:], strict=True)), strict=True))
            try:
                self._parquet(mutated_value(columns, rng))
            except (pa.ArrowException, TypeError, ValueError, OverflowError, AttributeError):  # no table of that
                table.write_bytes(b"")
        return table.name, table.read_bytes()

    def enter(self) -> tuple[int, str]:
        return command("data", "import", "mapping", self.path, self.out)


@COUNTS
def test_declarations(count: str) -> None:
    fuzz(Declarations, count)


@COUNTS
def test_lists_of_samples(count: str) -> None:
    fuzz(Lists, count)


@COUNTS
def test_checks(count: str) -> None:
    fuzz(Checks, count)


@COUNTS
def test_splits(count: str) -> None:
    fuzz(Splits, count)


@COUNTS
def test_statistics(count: str) -> None:
    fuzz(Statistics, count)


@COUNTS
def test_mappings(count: str) -> None:
    fuzz(Mappings, count)


@COUNTS
def test_manifests(count: str) -> None:
    fuzz(Manifests, count)
