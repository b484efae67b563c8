"""Tables of the learning curves of every configuration of small search spaces, for `benchmarks/search.py`.

    python benchmarks/tables.py [--only NAME ...] [--processes N] [--seeds 3] [--out benchmarks/tables]

Searches that are replayed on such tables cost nothing, so that many seeds and methods can be compared on real curves
(the idea of tabular benchmarks: Klein and Hutter 2019, "Tabular benchmarks for joint architecture and hyperparameter
optimization"). The tasks are in `table_spaces.py`; each trains DepthMaskNet or a pretrained network on 80 pictures and
validates on 40. All configurations of all tables are trained with the first seed, then all with the next, so that the
tables are of use after each. Every training is kept in `data/tables` as it ends: the same command goes on there.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from rich.progress import track
from table_spaces import BATCH, DEPTH, MASK, SIZE, STEPS, TASKS, VALIDATION, key

from dmx.config import parse_experiment
from dmx.config.experiment import hash_of
from dmx.config.space import Space
from dmx.data.layout import DatasetIndex, read
from dmx.data.pack.write import pack
from dmx.data.samples import Samples
from dmx.experiment import RunOptions, Tracking, prepare, run
from dmx.outcome import Outcome
from dmx.registry import load
from dmx.sweep.design import grid
from dmx.tracking.home import Home

HERE = Path(__file__).parent / "tables"


def chosen(index: DatasetIndex) -> DatasetIndex:
    """As many training and validation samples as are wanted, of different groups; test samples are left alone."""
    table = index.samples.table.to_pandas()
    free = table[(table["split"].isna()) | (table["split"] == "train")].sample(frac=1, random_state=0)
    groups = free["group"].unique()
    apart = free["group"].isin(groups[: len(groups) // 3])
    parts = {"val": free[apart][:VALIDATION], "train": free[~apart][: STEPS * BATCH]}
    rows = pa.concat_tables(
        pa.Table.from_pandas(part.assign(split=name), index.samples.table.schema, preserve_index=False)
        for name, part in parts.items()
    )
    return replace(index, samples=Samples(rows))


@lru_cache
def pictures(name: str, data: Path, folder: Path) -> DatasetIndex:
    """The pictures of a task, small and few, packed below `folder`.

    Raises:
        SystemExit: The data set is missing.
    """
    task, root = TASKS[name], data / TASKS[name].folder
    if task.source is not None:
        root = folder / f"{name}-whole"
        task.source(root)
    elif not (root / "dataset.yaml").exists():
        raise SystemExit(f"table '{name}' needs {root}, which these commands make: {task.commands}")
    pack(chosen(read(root)), folder / name, size=(SIZE, SIZE), workers=1)
    return read(folder / name)


@dataclass(frozen=True)
class Job:
    """One training: a configuration of a task, with a seed; `identity` is that of the table."""

    name: str
    values: Mapping[str, Any]
    seed: int
    identity: str

    @property
    def place(self) -> dict[str, Any]:
        """What identifies it in the file of trainings."""
        return {"key": key(self.values), "seed": self.seed, "identity": self.identity}


def curve(job: Job, data: Path, folder: Path) -> dict[str, Any]:
    """Train a configuration; seconds are those of the processor."""
    torch.set_num_threads(1)
    load()
    task, home = TASKS[job.name], Home(folder / "home")
    raw = task.study(pictures(job.name, data, folder).root)[1].raw(dict(job.values))
    prepared = prepare(parse_experiment({**raw, "seed": job.seed}, "row"), home)
    epochs: list[dict[str, float | None]] = []

    def keep(epoch: int, metrics: Mapping[str, float | None]) -> str:
        epochs.append({DEPTH: metrics[DEPTH], MASK: metrics[MASK]})
        return ""

    begun = time.process_time()
    run_id = f"row-{hash_of({'name': job.name, **job.place})}"
    result, _ = run(prepared, home, run_id, Tracking("tables", stores=False), RunOptions(report=keep))
    seconds = time.process_time() - begun
    if result.outcome is Outcome.INTERRUPTED:
        raise KeyboardInterrupt
    found = {"outcome": str(result.outcome), "parameters": prepared.parameters, "seconds": seconds, "epochs": epochs}
    return {**job.place, **found}


def trained(path: Path, identity: str) -> dict[tuple[str, int], dict[str, Any]]:
    """The trainings of a table that are there, by configuration and seed."""
    lines = path.read_text().splitlines() if path.exists() else []
    rows = [row for row in map(json.loads, lines) if row["identity"] == identity]
    return {(row["key"], row["seed"]): row for row in rows}


def configurations(space: Space) -> list[dict[str, Any]]:
    """All configurations of a space."""
    return list(grid(space.dimensions, {}))


def write(out: Path, name: str, rows: Mapping[tuple[str, int], Mapping[str, Any]], facts: Mapping[str, str]) -> None:
    """Write a table of all configurations, if each has been trained; each has its curves of one or more seeds."""
    columns: dict[str, list[Any]] = {n: [] for n in ("values", "seeds", "parameters", "seconds", "depth", "mask")}
    for values in configurations(TASKS[name].study()[1]):
        own = [row for (known, _), row in sorted(rows.items()) if known == key(values)]
        if not own:
            return
        columns["values"].append(key(values))
        columns["seeds"].append(len(own))
        columns["parameters"].append(own[0]["parameters"])
        epochs = [max(1, len(row["epochs"])) for row in own]
        # NaN: not measured, as where loader processes took a part of the work
        columns["seconds"].append(float(np.nanmean([r["seconds"] / n for r, n in zip(own, epochs, strict=True)])))
        for column, metric in (("depth", DEPTH), ("mask", MASK)):
            columns[column].append([[epoch[metric] for epoch in row["epochs"]] for row in own])
    curves = pa.list_(pa.list_(pa.float32()))
    numbers = [("seeds", pa.int8()), ("parameters", pa.int32()), ("seconds", pa.float32())]
    schema = pa.schema(
        [("values", pa.string()), *numbers, ("depth", curves), ("mask", curves)],
        metadata={**facts, "date": datetime.now(UTC).date().isoformat(), "torch": torch.__version__},
    )
    out.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns, schema), out / f"{name}.parquet", compression="zstd")


def facts_of(name: str, index: DatasetIndex) -> dict[str, str]:
    """What is kept with a table: the definition of its space, the fingerprint of its pictures, and one of both."""
    assert index.pack is not None
    known, data = TASKS[name].definition(), hash_of({"shards": [shard.sha256 for shard in index.pack.shards]})
    return {"definition": json.dumps(known), "data": data, "identity": hash_of({"definition": known, "data": data})}


def train(name: str, seed: int, options: argparse.Namespace, folder: Path) -> None:
    """Train what is missing of a table with one seed, and write the table."""
    facts, path = facts_of(name, pictures(name, options.data, folder)), options.data / "tables" / f"{name}.jsonl"
    there, every = trained(path, facts["identity"]), configurations(TASKS[name].study()[1])
    jobs = [Job(name, values, seed, facts["identity"]) for values in every if (key(values), seed) not in there]
    path.parent.mkdir(parents=True, exist_ok=True)
    for row in track(curves(jobs, options, folder), f"{name}, seed {seed}", len(jobs)):
        there[row["key"], row["seed"]] = row
        with path.open("a") as file:
            file.write(json.dumps(row) + "\n")
    write(options.out, name, there, facts)
    minutes = np.nansum([row["seconds"] for row in there.values() if row["seed"] == seed]) / 60
    print(f"{name}, seed {seed}: {len(every)} configurations, {minutes:.1f} minutes of one core", flush=True)


def curves(jobs: list[Job], options: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """Train, in this process or in several."""
    if options.processes == 1:
        yield from (curve(job, options.data, folder) for job in jobs)
        return
    with ProcessPoolExecutor(options.processes, get_context("spawn")) as pool:
        yield from pool.map(curve, jobs, [options.data] * len(jobs), [folder] * len(jobs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=TASKS, default=list(TASKS), metavar="NAME")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", type=Path, default=Path("data"), help="the folder of data sets and of trainings")
    parser.add_argument("--out", type=Path, default=HERE)
    options = parser.parse_args()
    load()
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.seeds):
            for name in options.only:
                train(name, seed, options, Path(folder))


if __name__ == "__main__":
    main()
