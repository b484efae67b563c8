"""Checks for user errors: whether configuration, data and machine are compatible.

The data must have the targets for the run's losses and for its validation metrics.
"""

import random
from collections.abc import Iterable, Iterator, Sequence

import torch

from dmx.config import ExperimentConfig
from dmx.data.dataset import QuartetDataset
from dmx.data.layout import DatasetIndex
from dmx.data.split import Split
from dmx.errors import ConfigError, DataError, Problem, UserError
from dmx.metrics import Evaluator, ReferenceMaps, names
from dmx.models.inputs import needs_background
from dmx.quartet import Batch, Prediction
from dmx.training.distributed import world_size

SURE = 30.0
"""The logit of a certain mask prediction."""


def check_fit(config: ExperimentConfig, index: DatasetIndex, metrics: Iterable[str]) -> None:
    """Check that the experiment and the data set are compatible.

    Raises:
        ConfigError: They are not; the message lists all reasons.
    """
    problems = []
    kind = index.depth.kind
    for i, term in enumerate(config.loss.depth):
        kinds = term.loss.component.facts.get("kinds", (kind,))
        if kind not in kinds:
            what = f"depth loss '{term.loss.component.name}' is for {' and '.join(kinds)} depth"
            problems.append(Problem(f"loss.depth.{i}", f"{what}, but the depth of '{index.name}' is {kind}"))
    if not index.has_background and needs_background(getattr(config.model, "inputs", "image")):
        what = f"takes a background, but '{index.name}' has none"
        problems.append(Problem("model.inputs", f"model '{config.model.component.name}' {what}; set it to image"))
    known = {f"val/{name}" for name in names(index.depth)}
    for metric in metrics:
        if metric not in known:
            where = "objective.metric" if metric == config.objective.metric else "objectives"
            what = f"'{metric}' is not defined for {kind} depth"
            problems.append(Problem(where, f"{what}; take one of {', '.join(sorted(known))}"))
    if problems:
        raise ConfigError(f"experiment '{config.name}'", problems)


def check_parts(config: ExperimentConfig) -> None:
    """Check that each batch can be split between all ranks.

    Raises:
        UserError: A batch size is not divisible by the world size, or leaves one sample for each rank.
    """
    count = world_size()
    for i, stage in enumerate(config.stages):
        if count > 1 and (stage.batch_size % count or stage.batch_size < 2 * count):
            raise UserError(
                f"stages.{i}.batch_size is {stage.batch_size}, which is for {count} processes together; take a "
                f"multiple of {count}, and at least {2 * count}."
            )


def check_pack(index: DatasetIndex, size: tuple[int, int]) -> None:
    """Check that a pack has at least the requested image size.

    Raises:
        DataError: The pack was made for a smaller size.
    """
    if index.pack is not None and any(wanted > there for wanted, there in zip(size, index.pack.size, strict=True)):
        height, width = index.pack.size
        raise DataError(
            f"{index.root}: is a pack of {height}x{width}, but a stage asks for {size[0]}x{size[1]}, which would only "
            "enlarge; pack the data set at that size, or train on the data set itself."
        )


def check_defined(config: ExperimentConfig, index: DatasetIndex, parts: Split, metrics: Sequence[str]) -> None:
    """Check that training has known targets, and that each of `metrics` is defined on validation.

    Samples are read until the check is decided: for most data sets one training sample at each size, and one validation
    sample.

    Raises:
        DataError: No training sample has known depth, or a known mask, at the size of a stage; or a metric is undefined
            on all validation samples, even for a perfect prediction.
    """
    for size in dict.fromkeys(stage.height_width for stage in config.stages):
        for what in unknown(samples(index, parts.train, size)):
            raise DataError(
                f"{index.root}: {what} is known in none of the {len(parts.train)} training samples at "
                f"{size[0]}x{size[1]}, so nothing can be learned of it; take a larger `size` in stages, or other data."
            )
    size = config.stages[-1].height_width
    missing = undefined(samples(index, parts.val, size), index, metrics)
    if missing:
        verb = "has" if len(missing) == 1 else "have"
        raise DataError(
            f"{index.root}: {' and '.join(missing)} {verb} no value on the {len(parts.val)} validation samples at "
            f"{size[0]}x{size[1]} whatever is predicted, because {why(missing)}; take another objective, a "
            "larger `size` in the last stage, or another split."
        )


def samples(index: DatasetIndex, ids: Sequence[str], size: tuple[int, int]) -> Iterator[Batch]:
    """The samples one by one, in an order unrelated to their listing."""
    data = QuartetDataset(index, random.Random(0).sample(ids, len(ids)), size, memory=False)
    for number in range(len(data)):
        yield data.__getitems__([number]).to(torch.device("cpu"))


def unknown(batches: Iterator[Batch]) -> set[str]:
    """Which of depth and mask is unknown in every pixel of every sample."""
    left = {"depth", "mask"}
    for batch in batches:
        known = {"depth": batch.valid, "mask": batch.mask_valid}
        left -= {what for what in left if bool(known[what].any())}
        if not left:
            break
    return left


def undefined(batches: Iterator[Batch], index: DatasetIndex, metrics: Sequence[str]) -> list[str]:
    """The validation metrics that are undefined on every sample, even for a perfect prediction."""
    left = [*dict.fromkeys(metrics)]
    for batch in batches:
        evaluator = Evaluator(index.depth)
        truth = Prediction((batch.mask * 2 - 1) * SURE, torch.where(batch.valid, batch.depth, index.depth.high))
        wrong = ReferenceMaps(truth.depth.double() + 1, 1 - batch.mask.double())  # or skill would have no value
        evaluator.update(truth, batch, wrong)
        found = evaluator.compute()
        left = [metric for metric in left if found[metric.removeprefix("val/")] is None]
        if not left:
            break
    return left


def why(metrics: Sequence[str]) -> str:
    """What the samples lack, for a message."""
    tasks = {task for metric in metrics for task in metric.split("/")[1].replace("joint", "mask depth").split()}
    lacks = {"depth": "no depth is known there", "mask": "no mask there has an object"}
    return " and ".join(lack for task, lack in lacks.items() if task in tasks)
