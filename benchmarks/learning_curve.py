"""What the number of training pictures is worth: NYU Depth V2 with 50 to 675 frames, from scratch and pretrained.

    dmx data import nyuv2 ../shared/data/nyuv2 data/nyuv2
    python benchmarks/learning_curve.py [--figure docs/learning_curve.svg]

U-Net with EfficientNet-Lite0 at 96x128, as in experiments/nyuv2_pretrained.yaml, but without a moving average of the
weights, which so few steps would not fill; fewer pictures are seen for more epochs, and still fewer steps. Validation
is the same 120 frames for all; the best epoch by depth counts. One seed.

Each measurement is written to the results (`--results`, data/learning_curve.jsonl) as soon as it is there; started
again, the command goes on with what is missing. The table is printed; `--figure` draws it.
"""

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from series import Measurement, arguments, best_epoch, report

from dmx.config import load_experiment
from dmx.experiment import Tracking, prepare, run
from dmx.tracking import Home

EXPERIMENT = Path(__file__).parent.parent / "experiments" / "nyuv2_pretrained.yaml"
EPOCHS = {50: 30, 150: 16, 675: 10}
STARTS = {"from scratch": "none", "from ImageNet": "in1k"}
"""The weights of the encoder at the start."""
METRICS = {"depth RMSE (m)": "depth/rmse_pooled", "skill": "depth/skill_pooled", "mask IoU": "mask/iou_pooled"}


def trained(weights: str, frames: int, data: Path) -> dict[str, Any]:
    """The metrics of a network's best epoch."""
    with tempfile.TemporaryDirectory() as scratch:
        home = Home(Path(scratch))
        overrides = [
            f"data.root={data}",
            f"model.weights={weights}",
            f"stages=[{{epochs: {EPOCHS[frames]}, size: [96, 128], batch_size: 16, share: {frames / max(EPOCHS)}}}]",
            "training.compile=false",
            "training.ema_decay=null",
        ]
        prepared = prepare(load_experiment(EXPERIMENT, overrides), home)
        result, _ = run(prepared, home, "run", Tracking("learning-curve", stores=False))
        if (best := best_epoch(result)) is None:
            return {"outcome": f"{result.outcome.value}: {result.reason}"}
        return {name: best.metrics.get(f"val/{metric}") for name, metric in METRICS.items()}


def wanted(data: Path) -> Iterator[tuple[dict[str, Any], Callable[[], dict[str, Any]]]]:
    """Every measurement, those of few frames first."""
    for frames in EPOCHS:
        for start, weights in STARTS.items():
            yield {"start": start, "frames": frames}, partial(trained, weights, frames, data)


def table(known: list[Measurement]) -> Iterator[str]:
    """The table in Markdown: a line for each number of frames, the metrics of each start beside each other."""
    yield f"| training frames | {' | '.join(f'{start}: {name}' for start in STARTS for name in METRICS)} |"
    yield f"|---{'|---' * len(STARTS) * len(METRICS)}|"
    found = {(one["start"], one["frames"]): one for one in known}
    for frames in EPOCHS:
        cells = [found.get((start, frames), {}).get(name) for start in STARTS for name in METRICS]
        yield f"| {frames} | {' | '.join('-' if cell is None else f'{cell:.3f}' for cell in cells)} |"


def draw(known: list[Measurement], path: Path) -> None:
    """Skill and IoU over the number of frames."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4))
    for axis, name in zip(axes, ("skill", "mask IoU"), strict=True):
        for start in STARTS:
            points = sorted((one["frames"], one[name]) for one in known if one["start"] == start and one.get(name))
            axis.plot(*zip(*points, strict=True), "o-", label=start)
        axis.set_xscale("log")
        axis.set_xticks([*EPOCHS], [str(frames) for frames in EPOCHS])
        axis.minorticks_off()
        axis.set_xlabel("training frames")
        axis.set_ylabel("skill of depth" if name == "skill" else name)
        axis.grid(alpha=0.3)
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    parser = arguments(__doc__, Path("data/learning_curve.jsonl"))
    parser.add_argument("--data", type=Path, default=Path("data/nyuv2"))
    options = parser.parse_args()
    report(options, wanted(options.data), table, draw)


if __name__ == "__main__":
    main()
