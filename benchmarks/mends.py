"""The published recipe, mended one fault at a time: what each mend brings on rooms that were never seen.

    dmx data synth data/relative --kind relative --count 1000 --size 96 --per-room 20
    dmx data synth data/relative_rooms --kind relative --count 1000 --size 96 --per-room 2 --seed 2
    dmx data synth data/relative_unseen --kind relative --count 300 --size 96 --per-room 2 --seed 1
    python benchmarks/mends.py [--figure docs/mends.svg]

Quartets of the published kind: 50 backgrounds with 20 pictures each, depth relative. The recipe is that of
experiments/published_recipe.yaml with DepthMaskNet of width 16; its stages have half the size and smaller batches, as
the set has a 400th of the published one's pictures. Each mend is added to those before it; three seeds. Every network
is measured by its own validation part, which is what its author sees, and on a second set whose rooms no run has seen.

Each measurement is written to the results (`--results`, data/mends.jsonl) as soon as it is there; started again, the
command goes on with what is missing. The table is printed; `--figure` draws it.
"""

import statistics
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from series import Measurement, arguments, best_epoch, report, spread

from dmx.config import load_experiment
from dmx.experiment import Tracking, prepare, run
from dmx.experiment.evaluate import evaluate
from dmx.experiment.trained import trained
from dmx.tracking import Home

RECIPE = Path(__file__).parent.parent / "experiments" / "published_recipe.yaml"
SEEDS = (0, 1, 2)
SCALED = [
    "model={name: depthmasknet, width: 16}",
    "stages=[{epochs: 3, size: 32, batch_size: 16}, {epochs: 3, size: 56, batch_size: 16},"
    " {epochs: 2, size: 96, batch_size: 8}]",
]
MENDS: dict[str, list[str]] = {
    "as published": [],
    "depth through a sigmoid, for losses (SSIM, L1) and metrics": ["depth_link=sigmoid", "loss.depth=[ssim, l1]"],
    "a schedule that does not freeze: one cycle": ["schedule=one_cycle"],
    "split by background": ["data.split.by=group"],
    "skips": ["model.skips=true"],
    "upsampling without checkerboard: ICNR": ["model.upsampling=pixel_shuffle_icnr"],
    "AdamW, learning rate 3e-3": ["optimizer={name: adamw, lr: 3.0e-3}"],
    "batch norm's statistics of the weights as they are, in validation": ["training.batch_norm=fresh"],
    "the difference of image and background as input": ["model.inputs=image+difference"],
    "500 rooms with 2 pictures each, in place of 50 with 20": ["data.root=data/relative_rooms"],
}
METRICS = {"rmse": "depth/rmse_pooled", "skill": "depth/skill_pooled", "dice": "mask/dice_pooled"}
COLUMNS = {
    "own validation: depth RMSE": ("own", "rmse", 4),
    "unseen: depth RMSE": ("unseen", "rmse", 4),
    "explained variance": ("unseen", "skill", 3),
    "mask Dice": ("unseen", "dice", 3),
}


def settings(mend: str) -> list[str]:
    """Everything that this mend and those before it set."""
    names = list(MENDS)
    return [setting for name in names[: names.index(mend) + 1] for setting in MENDS[name]]


def measured(mend: str, seed: int, data: Path, unseen: Path) -> dict[str, Any]:
    """Train one network; measure it on its own validation part and on the unseen set."""
    with tempfile.TemporaryDirectory() as scratch:
        home = Home(Path(scratch))
        overrides = [f"data.root={data}", f"seed={seed}", "training.compile=false", *SCALED, *settings(mend)]
        result, _ = run(prepare(load_experiment(RECIPE, overrides), home), home, "run", Tracking("mends", stores=False))
        if (best := best_epoch(result)) is None:
            return {"outcome": f"{result.outcome.value}: {result.reason}"}
        own = best.metrics
        found = evaluate(trained(home, "run"), unseen, None, home).values
    return {
        "own": {key: own.get(f"val/{name}") for key, name in METRICS.items()},
        "unseen": {key: found.get(name) for key, name in METRICS.items()},
    }


def wanted(data: Path, unseen: Path) -> Iterator[tuple[dict[str, Any], Callable[[], dict[str, Any]]]]:
    """Every measurement; seeds are outermost: a run broken off covers all mends."""
    for seed in SEEDS:
        for mend in MENDS:
            yield {"mend": mend, "seed": seed}, partial(measured, mend, seed, data, unseen)


def values(known: list[Measurement], mend: str, where: str, key: str) -> list[float]:
    """One metric of all seeds of a mend."""
    found = [row.get(where, {}).get(key) for row in known if row["mend"] == mend]
    return [value for value in found if value is not None]


def table(known: list[Measurement]) -> Iterator[str]:
    """The table in Markdown: the mean of the seeds, with the least and the greatest."""
    yield f"| mended so far | {' | '.join(COLUMNS)} |"
    yield f"|---{'|---' * len(COLUMNS)}|"
    for mend in MENDS:
        cells = [spread(values(known, mend, where, key), digits) for where, key, digits in COLUMNS.values()]
        yield f"| {'' if mend == next(iter(MENDS)) else '+ '}{mend} | {' | '.join(cells)} |"


def draw(known: list[Measurement], path: Path) -> None:
    """Explained variance and Dice on unseen rooms, one dot per seed and a line through the means."""
    import matplotlib.pyplot as plt

    rows = list(range(len(MENDS)))
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), sharey=True)
    for axis, (key, label) in zip(
        axes, (("skill", "explained variance of depth"), ("dice", "Dice of the mask")), strict=True
    ):
        found = [values(known, mend, "unseen", key) for mend in MENDS]
        axis.plot([statistics.mean(one) for one in found], rows, color="tab:blue")
        for row, one in zip(rows, found, strict=True):
            axis.plot(one, [row] * len(one), "o", color="tab:blue", alpha=0.5)
        axis.set_xlabel(f"{label}, on rooms never seen")
        axis.grid(axis="x", alpha=0.3)
    axes[0].set_yticks(rows, [("" if row == 0 else "+ ") + mend for row, mend in enumerate(MENDS)])
    axes[0].invert_yaxis()
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    parser = arguments(__doc__, Path("data/mends.jsonl"))
    parser.add_argument("--data", type=Path, default=Path("data/relative"))
    parser.add_argument("--unseen", type=Path, default=Path("data/relative_unseen"))
    options = parser.parse_args()
    report(options, wanted(options.data, options.unseen), table, draw)


if __name__ == "__main__":
    main()
