"""What joint training and a larger encoder bring: NYU Depth V2, both tasks in one network and each task alone.

    dmx data import nyuv2 ../shared/data/nyuv2 data/nyuv2
    python benchmarks/joint.py [--seeds 0 1 2]

The network and losses of experiments/nyuv2_pretrained.yaml, 10 epochs at 96x128 without a moving average of weights,
as in learning_curve.py. Alone, the other task's loss has weight 0. The metrics are those of the last epoch, so that no
choice of an epoch favours a task.

Each measurement is written to the results (`--results`, data/joint.jsonl) as soon as it is there; started again, the
command goes on with what is missing. The table is printed: means of the seeds, with the least and the greatest.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from series import Measurement, arguments, best_epoch, report, spread

from dmx.config import load_experiment
from dmx.experiment import Tracking, prepare, run
from dmx.tracking import Home
from dmx.tracking.home import JOURNAL
from dmx.tracking.journal import MetricsLogged, read

EXPERIMENT = Path(__file__).parent.parent / "experiments" / "nyuv2_pretrained.yaml"
VARIANTS: dict[str, Sequence[str]] = {
    "both tasks": (),
    "depth alone": ("weighting={name: fixed, mask: 0}",),
    "mask alone": ("weighting={name: fixed, depth: 0}",),
    "both tasks, EfficientNet-Lite2": ("model.encoder=tu-tf_efficientnet_lite2",),
}
METRICS = {
    "depth RMSE (m)": "val/depth/rmse_pooled",
    "delta1": "val/depth/delta1_pooled",
    "skill": "val/depth/skill_pooled",
    "mask IoU": "val/mask/iou_pooled",
}
LEFT_OUT = {"depth alone": ("mask IoU",), "mask alone": ("depth RMSE (m)", "delta1", "skill")}
"""What a network says of a task that it was not trained for."""


def trained(variant: str, seed: int, data: Path) -> dict[str, Any]:
    """The metrics of a network's last epoch."""
    with tempfile.TemporaryDirectory() as scratch:
        home = Home(Path(scratch))
        overrides = [
            f"data.root={data}",
            f"seed={seed}",
            "stages=[{epochs: 10, size: [96, 128], batch_size: 16}]",
            "training.compile=false",
            "training.ema_decay=null",
            *VARIANTS[variant],
        ]
        result, _ = run(prepare(load_experiment(EXPERIMENT, overrides), home), home, "run", Tracking("", stores=False))
        if best_epoch(result) is None:
            return {"outcome": f"{result.outcome.value}: {result.reason}"}
        logged = [event for event, _ in read(home.run("run") / JOURNAL) if isinstance(event, MetricsLogged)]
    last = {metric: value for event in logged for metric, value in event.values.items()}
    return {name: last[metric] for name, metric in METRICS.items() if name not in LEFT_OUT.get(variant, ())}


def wanted(data: Path, seeds: Sequence[int]) -> Iterator[tuple[dict[str, Any], Callable[[], dict[str, Any]]]]:
    """Every measurement; seeds are outermost: a run broken off covers all variants."""
    for seed in seeds:
        for variant in VARIANTS:
            yield {"variant": variant, "seed": seed}, partial(trained, variant, seed, data)


def table(known: list[Measurement]) -> Iterator[str]:
    """The table in Markdown."""
    yield f"| trained for | {' | '.join(METRICS)} |"
    yield f"|---{'|---' * len(METRICS)}|"
    for variant in VARIANTS:
        rows = [one for one in known if one["variant"] == variant]
        cells = [spread([one[name] for one in rows if name in one], 3) for name in METRICS]
        yield f"| {variant} | {' | '.join(cells)} |"


def main() -> None:
    parser = arguments(__doc__, Path("data/joint.jsonl"), figure=False)
    parser.add_argument("--data", type=Path, default=Path("data/nyuv2"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    report(options, wanted(options.data, options.seeds), table)


if __name__ == "__main__":
    main()
