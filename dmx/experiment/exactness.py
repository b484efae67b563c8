"""The precision of a run: one that gives what float32 gives, and the same from its beginning to its end."""

from collections.abc import Iterable, Iterator
from copy import deepcopy
from pathlib import Path

import torch

from dmx.config import ExperimentConfig
from dmx.data.dataset import QuartetDataset
from dmx.data.layout import DatasetIndex
from dmx.models import DepthMaskModel
from dmx.quartet import Batch
from dmx.stored import intact, read_mapping
from dmx.training.execution import DTYPES, Execution
from dmx.training.memory import free, is_out_of_memory
from dmx.training.precision import PRECISION, checked

ENVIRONMENT = "environment.json"
FEW = 2
"""Samples that are looked at, for the look is not to need more memory than the training."""


def exact(
    config: ExperimentConfig,
    model: DepthMaskModel,
    index: DatasetIndex,
    ids: tuple[str, ...],
    execution: Execution,
    where: str = "",
) -> Execution:
    """`execution`, after a look at real batches of each stage; in float32 where a lower precision comes out wrong.

    Args:
        config: The experiment.
        model: Its network, which stays as and where it is.
        index: The data set.
        ids: The samples to look at, of which the first are taken.
        execution: What was chosen.
        where: Who asks for that very precision; empty: the configuration does, or nobody.

    Raises:
        UserError: It comes out wrong, and the precision was asked for.
    """
    if execution.dtype == torch.float32:
        return execution
    sizes = {(stage.height_width, min(FEW, stage.batch_size)) for stage in config.stages}
    explicit = bool(where) or config.training.precision != "auto"
    try:
        there = deepcopy(model).to(execution.device, memory_format=execution.memory_format)  # type: ignore[call-overload]
        return checked(there, first_batches(index, ids, sizes, execution), execution, explicit, where or PRECISION)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        free()
        return execution  # the training meets it, too, and ends as out-of-memory or halves its batches


def first_batches(
    index: DatasetIndex, ids: tuple[str, ...], sizes: Iterable[tuple[tuple[int, int], int]], execution: Execution
) -> Iterator[Batch]:
    """The first samples as a batch of each size and number."""
    for size, count in sorted(sizes):
        dataset = QuartetDataset(index, ids[:count], size, memory=False)
        host = dataset.__getitems__(range(len(dataset)))
        yield host.to(execution.device, execution.memory_format)


def begun(folder: Path) -> tuple[torch.dtype, str] | None:
    """The precision in which the run in `folder` began, and which was refused for it; None before it has."""
    path = folder / ENVIRONMENT
    if not path.is_file():
        return None
    advice = f"restore it from a copy, or remove {folder}, and the same command trains the run again."
    with intact(path, advice):
        facts = read_mapping(path, advice, "execution")["execution"]
        return DTYPES[facts["precision"]], str(facts.get("precision_refused", ""))
