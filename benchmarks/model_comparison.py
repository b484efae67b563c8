"""Models compared: every model, every weighting, every upsampling under one small budget, three seeds each.

    dmx data import nyuv2 ../shared/data/nyuv2 data/nyuv2
    dmx data compose data/nyuv2 ../shared/data/eva4_a/fg data/composed --part train --count 2000 --size 192 --fov 44.6
    python benchmarks/model_comparison.py [models] [weightings] [upsampling] [links] [--write docs/model_comparison.md]

Quality: the composed quartets at 64x64, batches of 16, the losses, optimizer and schedule of experiments/baseline.yaml
with lr 1e-3, nothing pretrained, no augmentation; one epoch for models, four for weightings, upsamplings and
depth links, all with DepthMaskNet of width 8. It says how quickly something learns with one setting for
all, not how good it can become. Cost: at 192x192 in batches of two; of weightings, a step of the quality's kind.

Each measurement is written to the results (`--results`, data/model_comparison.jsonl) as soon as it is there; started
again, the command goes on with what is missing. `--write` puts the tables between their marks in a document.
"""

import argparse
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import torch
from series import best_epoch, measure

from dmx.config import load_experiment
from dmx.experiment import Tracking, prepare, run
from dmx.experiment.prepare import Prepared
from dmx.experiment.run import learner_of
from dmx.models import Link
from dmx.registry import Choice, depth_losses, load, models, weightings
from dmx.tracking import Home
from dmx.training.device import forward_flops

BASELINE = Path(__file__).parent.parent / "experiments" / "baseline.yaml"
SEEDS = (0, 1, 2)
QUALITY = {
    "rmse": "val/depth/rmse_pooled",
    "iou": "val/mask/iou_pooled",
    "checkerboard": "val/depth/checkerboard_pooled",
}
SECTIONS = ("models", "weightings", "upsampling", "links")
SIDE, BATCH = 192, 2


def variants(section: str) -> dict[str, list[str]]:
    """What is tried in a section: its name and what it sets."""
    if section == "models":
        return {name: [f"model={{name: {name}}}"] for name in sorted(models)}
    if section == "weightings":
        narrow = "model={name: depthmasknet, width: 8}"
        found = {}
        for name, component in sorted(weightings.items()):
            for on in ("parameters", "features") if "gradients_of" in component.params.model_fields else (None,):
                setting = (
                    f"weighting={{name: {name}}}" if on is None else f"weighting={{name: {name}, gradients_of: {on}}}"
                )
                found[name if on is None else f"{name} of {on}"] = [narrow, setting]
        return found
    if section == "links":
        narrow = "model={name: depthmasknet, width: 8}"
        return {
            f"{link}, {loss}": [narrow, f"loss.depth={loss}", f"depth_link={link}"]
            for loss in ("l1", "silog")
            for link in get_args(Link)
            if link in depth_losses[loss].facts.get("needs", {}).get("depth_link", get_args(Link))
        }
    choice = models["depthmasknet"].search_space()["upsampling"]
    assert isinstance(choice, Choice)
    return {str(how): [f"model={{name: depthmasknet, width: 8, upsampling: {how}}}"] for how in choice.values}


def prepared_for(section: str, settings: list[str], seed: int, data: Path, home: Home) -> Prepared:
    """The baseline with these settings under the small budget."""
    overrides = [
        f"data.root={data}",
        f"seed={seed}",
        f"stages=[{{epochs: {1 if section == 'models' else 4}, size: 64, batch_size: 16}}]",
        "training.compile=false",
        *settings,
    ]
    return prepare(load_experiment(BASELINE, overrides), home)


def quality(prepared: Prepared, home: Home) -> dict[str, Any]:
    """Train; gives the best epoch's metrics."""
    number = f"run-{len(list(home.root.glob('runs/*')))}"
    result, _ = run(prepared, home, number, Tracking("comparison", stores=False))
    if (best := best_epoch(result)) is None:
        return {"outcome": f"{result.outcome.value}: {result.reason}"}
    return {key: best.metrics.get(name) for key, name in QUALITY.items()}


def milliseconds(parts: Callable[[], list[float]]) -> list[float]:
    """Medians of the parts of five rounds after a first one, in milliseconds."""
    rounds = [parts() for _ in range(6)][1:]
    return [1000 * statistics.median(part) for part in zip(*rounds, strict=True)]


def model_cost(prepared: Prepared) -> dict[str, Any]:
    """Parameters, multiply-adds of a sample, and milliseconds of a sample forward and backward."""
    model = prepared.model.to(memory_format=torch.channels_last).train()
    picture = torch.rand(BATCH, 3, SIDE, SIDE).contiguous(memory_format=torch.channels_last)

    def parts() -> list[float]:
        times = [time.perf_counter()]
        prediction = model(picture, picture)
        total = prediction.depth.mean() + prediction.mask_logits.mean()
        times.append(time.perf_counter())
        total.backward()
        times.append(time.perf_counter())
        return [(end - start) / BATCH for start, end in pairwise(times)]

    forward, backward = milliseconds(parts)
    flops = forward_flops(model, (SIDE, SIDE), prepared.model.net.needs_background)
    return {
        "parameters": prepared.parameters,
        "multiply_adds": flops // 2,
        "forward_ms": forward,
        "backward_ms": backward,
    }


def step_cost(prepared: Prepared) -> dict[str, Any]:
    """Milliseconds of a training step."""
    learner = learner_of(prepared)
    learner.model.train()
    batch = next(iter(prepared.loaders.train(prepared.config.stages[0], 0, skip=0)))

    def parts() -> list[float]:
        begun = time.perf_counter()
        learner.forward_backward(batch, learner.model)
        learner.update()
        return [time.perf_counter() - begun]

    return {"step_ms": milliseconds(parts)[0]}


def todo(sections: list[str], data: Path, home: Home) -> Iterator[tuple[dict[str, Any], Callable[[], dict[str, Any]]]]:
    """Every measurement: what it is, and how it is done. Seeds are outermost: a run broken off covers everything."""

    def prepared(section: str, name: str, seed: int = 0) -> Prepared:
        return prepared_for(section, variants(section)[name], seed, data, home)

    for section in sections:
        cost = step_cost if section == "weightings" else model_cost
        for name in variants(section) if section != "links" else ():
            key = {"section": f"cost of {section}", "name": name, "seed": 0}
            yield key, lambda section=section, name=name, cost=cost: cost(prepared(section, name))
    for seed in SEEDS:
        for section in sections:
            for name in variants(section):
                key = {"section": section, "name": name, "seed": seed}
                yield key, lambda key=key: quality(prepared(**key), home)


def measured(sections: list[str], data: Path, path: Path) -> list[dict[str, Any]]:
    """All measurements, those at `path` and those that are missing there."""
    with tempfile.TemporaryDirectory() as scratch:
        return measure(path, todo(sections, data, Home(Path(scratch))))


def spread(rows: list[dict[str, Any]], key: str, factor: int) -> str:
    """Median of the seeds with the least and the greatest; why there is none, where all failed."""
    values = [factor * row[key] for row in rows if row.get(key) is not None]
    if not values:
        return next((row["outcome"] for row in rows if "outcome" in row), "-")
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def tables(known: list[dict[str, Any]], sections: list[str]) -> dict[str, str]:
    """The table of each section in Markdown, best depth first."""
    return {section: "\n".join(lines(section, known)) for section in sections}


COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "parameters": lambda cost: f"{cost['parameters'] / 1e6:.2f} M",
    "multiply-adds": lambda cost: f"{cost['multiply_adds'] / 1e9:.2f} G",
    "ms forward": lambda cost: f"{cost['forward_ms']:.0f}",
    "ms backward": lambda cost: f"{cost['backward_ms']:.0f}",
    "ms a step": lambda cost: f"{cost['step_ms']:.0f}",
}


def lines(section: str, known: list[dict[str, Any]]) -> Iterator[str]:
    """The lines of one table."""
    costs = {row["name"]: row for row in known if row["section"] == f"cost of {section}"}
    columns = {"weightings": [*COLUMNS][-1:], "links": []}.get(section, [*COLUMNS][:-1])
    qualities = {"depth RMSE, m": "rmse", "mask IoU": "iou"}
    if section != "weightings":
        qualities["checkerboard, %"] = "checkerboard"
    first = {"links": "link and loss"}.get(section, section.removesuffix("s"))
    yield f"| {' | '.join([first, *columns, *qualities])} |"
    yield f"|{'---|' * (1 + len(columns) + len(qualities))}"
    found = {}
    for name in variants(section):
        rows = [row for row in known if (row["section"], row["name"]) == (section, name)]
        errors = [row["rmse"] for row in rows if row.get("rmse") is not None]
        cells = [COLUMNS[column](costs[name]) if name in costs else "-" for column in columns]
        cells += [spread(rows, key, 100 if key == "checkerboard" else 1) for key in qualities.values()]
        found[f"| {' | '.join([name, *cells])} |"] = statistics.median(errors) if errors else float("inf")
    yield from sorted(found, key=lambda line: found[line])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="models|weightings|upsampling|links")
    parser.add_argument("--data", type=Path, default=Path("data/composed"))
    parser.add_argument("--results", type=Path, default=Path("data/model_comparison.jsonl"))
    parser.add_argument("--write", type=Path, help="a document with a pair of marks for each section")
    options = parser.parse_args()
    sections = options.sections or list(SECTIONS)
    if unknown := set(sections) - set(SECTIONS):
        parser.error(f"no section {', '.join(unknown)}; take some of {', '.join(SECTIONS)}")
    load()
    made = tables(measured(sections, options.data, options.results), sections)
    print("\n\n".join(made.values()))
    if options.write:
        text = options.write.read_text()
        for section, table in made.items():
            marks = f"<!-- {section} -->", f"<!-- /{section} -->"
            text = re.sub(f"{marks[0]}.*?{marks[1]}", f"{marks[0]}\n\n{table}\n\n{marks[1]}", text, flags=re.DOTALL)
        options.write.write_text(text)


if __name__ == "__main__":
    main()
