"""How soon searches find what is good, replayed on tables of learning curves.

    python benchmarks/tables.py
    python benchmarks/search.py [--tables rooms ...] [--methods ...] [--seeds 50] [--workers 1 4 16] [--figure FILE]
    python benchmarks/search.py --check

Each method trains for as many epochs as `TRIALS` whole trials have. Regret is 0 at the best of the table and 1 at its
median configuration; with two objectives (`rooms+mask`) it is the share of the table's hypervolume that is missing. The
target is the median of what random search without pruning has at the end. Replays are kept in `data/replays.jsonl`, by
table, method and seed, and are not made again: remove the file when the code of a search has changed. `--figure` draws
the ranks. `--check` compares the replay in memory with the worker of `dmx sweep` on its journal.
"""

import argparse
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from candidates import AdaptiveHalving
from replay import DmxSearch, Search, simulate
from replay_statistics import ALPHA, alike, average_ranks, differences, epochs_to, interval, overall_ranks
from replay_table import Table, read_tables
from rich.progress import track
from rivals import OptunaHyperband, RayAsha, SyneTune
from scipy.stats import rankdata
from table_spaces import DEPTH, MASK, key
from tables import HERE
from worker_check import check

from dmx.registry import load
from dmx.sweep.design import grid
from dmx.sweep.suggest import baseline_params

TRIALS = 40
SHARES = (0.05, 0.1, 0.2, 0.5, 1.0)
RANDOM = "random"
TPE = {"name": "tpe", "startup_trials": 10}
FOREST = {"name": "forest", "startup_trials": 10}
HALVING, LATE = {"name": "halving"}, {"name": "halving", "min_epochs": 3}
WARM = ", warm_start"
"""At the end of the names of searches that begin with what an earlier one has found."""
EARLIER = {"relative": "rooms", "composed": "rooms", "nyuv2": "rooms", "nyuv2-pretrained": "rooms-pretrained"}
"""Of some tables, that of pictures made by oneself, which can be searched before."""
Maker = Callable[[Table, int], Search]


def dmx(kind: type[DmxSearch] = DmxSearch, **settings: Any) -> Maker:
    """A search of `dmx` with these settings."""
    return lambda table, seed: kind(table, seed, **settings)


def warm_started(table: Table, seed: int, sampler: Mapping[str, Any]) -> Search:
    """A search with this sampler after one on the table that `EARLIER` names, which had the budget of `TRIALS`, too."""
    name = EARLIER[table.name.partition("+")[0]]
    source = next(one for one in own_tables() if one.name.partition("+")[0] == name and one.several == table.several)
    earlier = DmxSearch(source, seed, sampler=sampler, pruner=LATE)
    simulate(earlier, source, TRIALS * source.task.epochs)
    search = DmxSearch(table, seed, sampler=sampler, pruner=LATE, warm_start=name)
    search.begin_with(earlier)
    return search


@cache
def own_tables() -> list[Table]:
    """The project's tables, whichever are searched after them."""
    return read_tables(HERE)


METHODS: dict[str, Maker] = {
    RANDOM: dmx(sampler="random", pruner="none"),
    "random, halving": dmx(sampler="random", pruner=HALVING),
    "tpe": dmx(sampler=TPE, pruner="none"),
    "tpe, median": dmx(sampler=TPE, pruner="median"),
    "tpe, median from 3": dmx(sampler=TPE, pruner={"name": "median", "warmup_epochs": 2}),
    "tpe, halving": dmx(sampler=TPE, pruner=HALVING),
    "tpe, halving from 3": dmx(sampler=TPE, pruner=LATE),
    "tpe, adaptive halving": dmx(AdaptiveHalving, sampler=TPE),
    "forest": dmx(sampler=FOREST, pruner="none"),
    "forest, halving from 3": dmx(sampler=FOREST, pruner=LATE),
    f"tpe, halving from 3{WARM}": partial(warm_started, sampler=TPE),
    f"forest, halving from 3{WARM}": partial(warm_started, sampler=FOREST),
    "Optuna: TPE, Hyperband": OptunaHyperband,
    "Ray: OptunaSearch, ASHA": RayAsha,
    "Syne Tune: BOHB": partial(SyneTune, scheduler="BOHB"),
}
FOR_ONE = (
    "tpe, median",
    "tpe, median from 3",
    "Optuna: TPE, Hyperband",
    "Ray: OptunaSearch, ASHA",
    "Syne Tune: BOHB",
)
"""Methods that know one objective only."""


def replays(path: Path, tables: Sequence[Table], options: argparse.Namespace) -> dict[tuple[str, str, int, int], Any]:
    """Make all replays that are missing."""
    wanted = [
        (table, method, workers, seed)
        for table in tables
        for method in options.methods
        for workers in options.workers
        for seed in range(options.seeds)
        if applies(method, table)
    ]
    lines = path.read_text().splitlines() if path.exists() else []
    known = {tuple(row["key"]): row for row in map(json.loads, lines)}
    missing = [one for one in wanted if (name(one[0]), *one[1:]) not in known]
    path.parent.mkdir(parents=True, exist_ok=True)
    for table, method, workers, seed in track(missing, "replays"):
        begun = time.process_time()
        steps = simulate(METHODS[method](table, seed), table, TRIALS * table.task.epochs, workers)
        row = {"key": (name(table), method, workers, seed), "steps": steps, "seconds": time.process_time() - begun}
        known[tuple(row["key"])] = row
        with path.open("a") as file:
            file.write(json.dumps(row) + "\n")
    return known


def name(table: Table) -> str:
    """A table with the number of its training seeds: with more, replays are others."""
    return f"{table.name} of {table.seeds}"


def regrets(
    known: Mapping[tuple[str, str, int, int], Any], table: Table, method: str, workers: int, seeds: int
) -> np.ndarray:
    """The regret of each seed after each epoch."""
    budget = TRIALS * table.task.epochs
    return np.stack(
        [table.regrets(known[name(table), method, workers, seed]["steps"], budget) for seed in range(seeds)]
    )


def near_defaults(table: Table) -> list[str]:
    """The median place of the configurations that differ from the experiment in so many values, 0 the table's best.

    Values that apply to one of the two alone are not counted.
    """
    start = baseline_params(table.space)
    places = rankdata(table.best[:, table.own]) / len(table.keys)
    found: dict[int, list[float]] = defaultdict(list)
    for values in grid(table.space.dimensions, {}):
        apart = sum(values.get(path, value) != value for path, value in start.items())
        found[apart].append(float(places[table.rows[key(values)]]))
    return [f"{apart}: {statistics.median(found[apart]):.2f} of {len(found[apart])}" for apart in sorted(found)]


def shown(table: Table, found: Mapping[str, np.ndarray]) -> None:
    """Print the regrets by budget, and the epochs to the target."""
    target, budget = float(np.median(found[RANDOM][:, -1])), found[RANDOM].shape[1]
    whole = table.values[np.isfinite(table.values).all((1, 2))]
    count, diverge = len(table.keys), len(table.keys) - len(whole)
    print(f"\n{table.name}: {count} configurations, {diverge} diverge, {table.seeds} training seeds,")
    print(f"target {target:.3f}. Rank correlation of the best until each epoch with the end:")
    for metric, column in ((DEPTH, 0), (MASK, 1)):
        print(f"- {metric}: {' '.join(f'{one:.2f}' for one in alike(whole[:, :, column]))}")
    print(f"Median place by values that are not the experiment's own: {', '.join(near_defaults(table))}\n")
    print(
        "| search | "
        + " | ".join(f"regret at {share:.0%}" for share in SHARES)
        + " | epochs to the target | of the budget | there |"
    )
    print("|---|" + "---|" * (len(SHARES) + 3))
    for method, values in found.items():
        cells = []
        for share in SHARES:
            mean, low, high = interval(values[:, round(share * values.shape[1]) - 1])
            cells.append(f"{mean:.3f} ({low:.3f} to {high:.3f})")
        epochs = epochs_to(values, target)
        median, there = statistics.median(epochs), np.isfinite(epochs).mean()
        print(f"| {method} | {' | '.join(cells)} | {median:g} | {median / budget:.2f} | {there:.0%} |")


def compared(tables: Sequence[Mapping[str, np.ndarray]], title: str) -> tuple[dict[str, float], set[str]]:
    """Print average ranks by budget and the significant differences.

    Returns:
        The rank of each method over the whole budget, and those that the first one is ahead of.
    """
    print(f"\n{title}: {len(tables)} tables\n")
    by_share = {share: average_ranks(tables, share) for share in SHARES}
    print("| search | " + " | ".join(f"rank at {share:.0%}" for share in SHARES) + " | mean regret |")
    print("|---|" + "---|" * (len(SHARES) + 1))
    areas = {method: float(np.mean([table[method].mean() for table in tables])) for method in tables[0]}
    for method in sorted(areas, key=lambda one: areas[one]):
        ranks = " | ".join(f"{by_share[share][method]:.1f}" for share in SHARES)
        print(f"| {method} | {ranks} | {areas[method]:.3f} |")
    overall = overall_ranks(tables)
    first, behind = min(overall, key=lambda one: overall[one]), set()
    print("\nAhead in mean regret (Wilcoxon over tables and seeds, Holm, 5 %):")
    for (a, b), (apart, p) in sorted(differences(tables).items(), key=lambda pair: pair[1][1]):
        if p < ALPHA:
            better, worse = (a, b) if apart < 0 else (b, a)
            print(f"- {better}, of {worse}: by {abs(apart):.3f}, p {p:.3f}")
            behind |= {worse} if better == first else set()
    return overall, behind


def draw(found: Mapping[str, tuple[Mapping[str, float], set[str]]], path: Path) -> None:
    """Draw the rank of each method, hollow where the first one is ahead of it by the test."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(found), figsize=(5.5 * len(found), 3.4), squeeze=False)
    for axis, (title, (ranks, behind)) in zip(axes[0], found.items(), strict=True):
        names = sorted(ranks, key=lambda one: ranks[one])
        for place, name in enumerate(names):
            axis.plot(ranks[name], place, "o", color="tab:blue", fillstyle="none" if name in behind else "full")
        axis.set_yticks(range(len(names)), names)
        axis.invert_yaxis()
        axis.set_xlabel("mean rank by regret over the budget")
        axis.set_title(f"{title}; hollow: the first one is ahead", fontsize=10)
        axis.grid(axis="x", alpha=0.3)
    figure.tight_layout()
    figure.savefig(path)


def sped_up(table: Table, known: Mapping[Any, Any], options: argparse.Namespace) -> None:
    """Print the simulated time to the target with several workers, as a share of one worker's."""
    print(f"\n{table.name}: how many times sooner than one worker\n")
    print("| search | " + " | ".join(f"{count} workers" for count in options.workers) + " |")
    print("|---|" + "---|" * len(options.workers))
    found = {m: regrets(known, table, m, options.workers[0], options.seeds) for m in methods_of(table, options)}
    target = float(np.median(found[RANDOM][:, -1]))
    for method in found:
        middle = []
        for workers in options.workers:
            values = regrets(known, table, method, workers, options.seeds)
            epochs = epochs_to(values, target)
            steps = [known[name(table), method, workers, seed]["steps"] for seed in range(options.seeds)]
            ends = [one[int(n) - 1][2] if np.isfinite(n) else np.inf for one, n in zip(steps, epochs, strict=True)]
            middle.append(statistics.median(ends))
        there = [f"{middle[0] / one:.1f}" if np.isfinite([middle[0], one]).all() else "-" for one in middle]
        print(f"| {method} | {' | '.join(there)} |")


def shared(group: Sequence[Mapping[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
    """The methods that were replayed on every table."""
    names = [name for name in group[0] if all(name in found for found in group)]
    return [{name: found[name] for name in names} for found in group]


def methods_of(table: Table, options: argparse.Namespace) -> list[str]:
    """The methods that are replayed on a table."""
    return [method for method in options.methods if applies(method, table)]


def applies(method: str, table: Table) -> bool:
    """Whether a method can search a table: some know one objective only, and some need an earlier study."""
    if method.endswith(WARM):
        return table.name.partition("+")[0] in EARLIER
    return not (table.several and method in FOR_ONE)


def checked(tables: Sequence[Table]) -> None:
    """Print whether replays agree with the worker on its journal."""
    for table in tables:
        several: list[dict[str, Any]] = [{"sampler": TPE, "pruner": "none"}, {"sampler": TPE, "pruner": HALVING}]
        one: list[dict[str, Any]] = [] if table.several else [{"sampler": TPE, "pruner": "median"}]
        for settings in several + one:
            same = check(table, 0, 10 * table.task.epochs, **settings)
            print(f"{table.name}, {settings}: {'the same' if same else 'NOT THE SAME'}", flush=True)


def usual() -> list[str]:
    """All methods whose packages are installed; Syne Tune comes by `pip install syne-tune`."""
    return [name for name in METHODS if find_spec("syne_tune") or not name.startswith("Syne Tune")]


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=HERE, help="the folder of tables")
    parser.add_argument("--tables", nargs="+", default=[], help="those alone")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=[*usual()], metavar="METHOD")
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--workers", nargs="+", type=int, default=[1])
    parser.add_argument("--replays", type=Path, default=Path("data/replays.jsonl"))
    parser.add_argument("--figure", type=Path, help="where the figure goes")
    parser.add_argument("--check", action="store_true")
    return parser.parse_args()


def main() -> None:
    options = parsed()
    load()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    tables = read_tables(options.folder, options.tables)
    if options.check:
        checked(tables)
        return
    options.methods = list(dict.fromkeys([RANDOM, *options.methods]))
    known = replays(options.replays, tables, options)
    kinds: dict[bool, list[dict[str, np.ndarray]]] = {False: [], True: []}
    for table in tables:
        found = {
            method: regrets(known, table, method, options.workers[0], options.seeds)
            for method in methods_of(table, options)
        }
        shown(table, found)
        kinds[table.several].append(found)
        if len(options.workers) > 1:
            sped_up(table, known, options)
    titles = {False: "One objective", True: "Two objectives"}
    together = {
        titles[several]: compared(shared(group), titles[several])
        for several, group in kinds.items()
        if group and len(shared(group)[0]) > 1
    }
    if options.figure:
        draw(together, options.figure)


if __name__ == "__main__":
    main()
