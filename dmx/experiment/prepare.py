"""From a configuration to everything that a run needs: what a user can have got wrong is found before it is written."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dmx.config import ExperimentConfig
from dmx.data.colours import kept_colours
from dmx.data.dataset import QuartetDataset
from dmx.data.layout import DatasetIndex, read
from dmx.data.split import Split, split
from dmx.errors import ConfigError, DataError, Problem, UserError
from dmx.experiment.checks import check_defined, check_fit, check_pack, check_parts
from dmx.experiment.loaders import StageLoaders
from dmx.metrics import definitions
from dmx.models.joint import DepthMaskModel, JointNet, Rgb, describe_parameters, make_link
from dmx.quartet import Batch
from dmx.stored import intact, read_mapping
from dmx.tracking.home import ENVIRONMENT, Home
from dmx.training.device import (
    DTYPES,
    DeviceConfig,
    check_device,
    forward_flops,
    free_memory,
    is_out_of_memory,
    latency_ms,
    memory_mb,
    resolve_device,
)
from dmx.training.precision import PRECISION
from dmx.training.precision import checked as checked_precision
from dmx.training.seeding import seed_everything
from dmx.written import place

FEW = 2
"""Samples that are looked at in lower precision, so that the look needs no more memory than the training."""
TRAINING_TO_FORWARD = 3  # a backward pass costs about two forward passes


@dataclass(frozen=True)
class Checked:
    """A configuration, its data, and its untrained model, all of which go together."""

    config: ExperimentConfig
    index: DatasetIndex
    data_fingerprint: str
    split: Split
    model: DepthMaskModel
    definitions: dict[str, str]


@dataclass(frozen=True)
class Prepared(Checked):
    """The same, with its way of using the machine."""

    parameters: int
    multiply_adds: int
    """Of one sample at the size of the last stage; one counts once."""
    measured: Mapping[str, float]
    """Further costs that were asked for: `memory_mb`, `latency_ms`."""
    device_config: DeviceConfig
    loaders: StageLoaders


def check(config: ExperimentConfig, metrics: Sequence[str] = ()) -> Checked:
    """Read what the data set says of itself, split it, and build the model.

    Args:
        config: The experiment.
        metrics: Validation metrics that must have values, beside the objective.

    Raises:
        UserError: Something does not fit together; the message says what and what to do.
    """
    check_device(config.training.device)
    index = read(place(config.data.root))
    index.check_files()
    wanted = [*dict.fromkeys((config.objective.metric, *metrics))]
    check_fit(config, index, wanted)
    check_parts(config)
    parts = split(index, **config.data.split.model_dump())
    if len(parts.train) < 2:
        raise DataError(
            f"{index.root}: one training sample is left, but batch norm needs two; add samples or split less."
        )
    check_defined(config, index, parts, wanted)
    seed_everything(config.seed)
    net = built(config)
    if not isinstance(net, JointNet):
        raise UserError(
            f"model '{config.model.component.name}' builds a {type(net).__name__}, which is no dmx.models.JointNet; "
            "derive it from JointNet or EncoderDecoder."
        )
    for size in {stage.height_width for stage in config.stages}:
        check_pack(index, size)
    model = DepthMaskModel(net, make_link(config.depth_link, index.depth), net.colours)
    return Checked(config, index, index.fingerprint(), parts, model, definitions(index.depth))


def prepare(
    config: ExperimentConfig,
    home: Home,
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    load: bool = True,
    measure: Collection[str] = (),
) -> Prepared:
    """As `check`; then count colours where they are wanted, choose how to use the machine, and make the samples ready.

    Args:
        config: The experiment.
        home: Where packs are kept.
        progress: Called with how many of how many samples are ready.
        load: Whether samples are brought into memory or a pack now.
        measure: Of `memory_mb` and `latency_ms`, what is to be measured; both at the size of the last stage.

    Raises:
        UserError: As `check`; or a sample cannot be read, or the precision that is asked for comes out wrong here.
    """
    checked = check(config)
    index, parts, model, settings = checked.index, checked.split, checked.model, config.training
    if config.data.normalisation == "data":
        model.normalise_by(*colours_of(checked, home, progress))
    background = model.net.needs_background
    flops = {s.height_width: forward_flops(model, s.height_width, background) for s in config.stages}
    forward = sum(flops[s.height_width] * s.epochs for s in config.stages)
    device_config = resolve_device(
        settings.device,
        settings.precision,
        settings.channels_last,
        settings.compile,
        flops=TRAINING_TO_FORWARD * forward * len(parts.train),
    )
    device_config = check_precision(config, model, index, parts.train, device_config)
    fingerprint = checked.data_fingerprint
    loaders = StageLoaders(
        index, fingerprint, parts, config.stages, config.data, config.augment, config.seed, device_config, home.packs
    )
    if load:
        loaders.preload(progress)
    return Prepared(
        **vars(checked),
        parameters=describe_parameters(model.net),
        multiply_adds=flops[config.stages[-1].height_width] // 2,
        measured=measured(config, model, device_config, measure),
        device_config=device_config,
        loaders=loaders,
    )


def measured(
    config: ExperimentConfig, model: DepthMaskModel, device_config: DeviceConfig, wanted: Collection[str]
) -> dict[str, float]:
    """The costs that are wanted, of those that are measured."""
    last, found = config.stages[-1], {}
    if "memory_mb" in wanted:
        found["memory_mb"] = memory_mb(model, last.height_width, last.batch_size)
    if "latency_ms" in wanted:
        found["latency_ms"] = latency_ms(model, last.height_width, model.net.needs_background, device_config)
    return found


def built(config: ExperimentConfig) -> Any:
    """The untrained network.

    Raises:
        ConfigError: Its parameters do not go together, or its weights cannot be had.
    """
    try:
        return config.model.bind()()
    except UserError as error:
        raise ConfigError(f"experiment '{config.name}'", [Problem("model", str(error))]) from error


def colours_of(checked: Checked, home: Home, progress: Callable[[int, int], None]) -> tuple[Rgb, Rgb]:
    """Mean and deviation of the colours of the training part alone; counted once for these data and this split.

    Raises:
        DataError: A picture cannot be read, or all of them are of one colour.
    """
    index, parts = checked.index, checked.split
    of = f"{checked.data_fingerprint[:16]}-{index.stamp[:8]}-{parts.fingerprint[:16]}"
    mean, deviation = kept_colours(index, parts.train, home.packs / f"{of}-colours.json", progress=progress)
    if not min(deviation):
        raise DataError(
            f"{index.root}: a colour is the same in every pixel that is learned from, so nothing can be divided by its "
            "deviation; set data.normalisation to model."
        )
    return mean, deviation


def check_precision(
    config: ExperimentConfig,
    model: DepthMaskModel,
    index: DatasetIndex,
    ids: tuple[str, ...],
    device_config: DeviceConfig,
    where: str = "",
) -> DeviceConfig:
    """`device_config`, after a look at real batches of each stage; in float32 where a lower precision comes out wrong.

    Args:
        config: The experiment.
        model: Its network, which stays as and where it is.
        index: The data set.
        ids: The samples to look at, of which the first are taken.
        device_config: What was chosen.
        where: What asks for that very precision; empty: the configuration, if anything does.

    Raises:
        UserError: It comes out wrong, and the precision was asked for.
    """
    if device_config.dtype == torch.float32:
        return device_config
    sizes = {(stage.height_width, min(FEW, stage.batch_size)) for stage in config.stages}
    explicit = bool(where) or config.training.precision != "auto"
    try:
        there = device_config.place(deepcopy(model))
        batches = first_batches(index, ids, sizes, device_config)
        return checked_precision(there, batches, device_config, explicit, where or PRECISION)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        free_memory()
        return device_config  # the training meets it, too, and ends as out-of-memory or halves its batches


def first_batches(
    index: DatasetIndex, ids: tuple[str, ...], sizes: Iterable[tuple[tuple[int, int], int]], device_config: DeviceConfig
) -> Iterator[Batch]:
    """The first samples as a batch of each size and number."""
    for size, count in sorted(sizes):
        dataset = QuartetDataset(index, ids[:count], size, memory=False)
        host = dataset.__getitems__(range(len(dataset)))
        yield host.to(device_config.device, device_config.memory_format)


def begun(folder: Path) -> tuple[torch.dtype, str] | None:
    """The precision in which the run in `folder` began, and the one that was refused for it; None before its start."""
    path = folder / ENVIRONMENT
    if not path.is_file():
        return None
    advice = f"restore it from a copy, or remove {folder}, and the same command trains the run again."
    with intact(path, advice):
        facts = read_mapping(path, advice, "execution")["execution"]
        return DTYPES[facts["precision"]], str(facts.get("precision_refused", ""))
