"""From a configuration to everything that a run needs; user errors are found before anything is written."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dmx.config import ExperimentConfig
from dmx.data.colours import kept_colours
from dmx.data.dataset import QuartetDataset
from dmx.data.layout import DatasetIndex, read
from dmx.data.split import Split, split
from dmx.errors import ConfigError, DataError, Problem, UserError
from dmx.experiment.checks import check_defined, check_fit, check_pack, check_parts, samples
from dmx.experiment.initial_weights import START, begin_with, sha256_of, weights_files, without_weights
from dmx.experiment.loaders import StageLoaders
from dmx.metrics import definitions
from dmx.models.inverse import Inverse
from dmx.models.joint import DepthMaskModel, JointNet, Rgb, describe_parameters, make_link
from dmx.quartet import Batch
from dmx.tracking.home import Home
from dmx.training.autotune import MEASURE_FROM_FLOPS, Workload, autotune
from dmx.training.device import (
    DeviceConfig,
    check_device,
    forward_flops,
    free_memory,
    is_out_of_memory,
    latency_ms,
    memory_mb,
    resolve_device,
)
from dmx.training.distributed import world_size
from dmx.training.groups import encoder_of, freeze_encoder
from dmx.training.precision import PRECISION
from dmx.training.precision import checked as checked_precision
from dmx.training.seeding import seed_everything
from dmx.written import place

FEW = 2
"""Maximum number of samples for the precision check, so that it needs no more memory than training."""
FITTED = 16
"""Number of samples to which the depth link's scale is fitted."""
TRAINING_TO_FORWARD = 3  # a backward pass costs about two forward passes


@dataclass(frozen=True)
class Checked:
    """A configuration with its data and its untrained model, checked to be compatible."""

    config: ExperimentConfig
    index: DatasetIndex
    data_fingerprint: str
    split: Split
    model: DepthMaskModel
    definitions: dict[str, str]
    weights: Mapping[str, str]
    """SHA-256 of the files that the network began with, by the setting that names them."""


@dataclass(frozen=True)
class Prepared(Checked):
    """A checked configuration with the resolved device settings, the loaders and the costs."""

    parameters: int
    multiply_adds: int
    """Of one sample at the size of the last stage; a multiply-add counts as one."""
    measured: Mapping[str, float]
    """The measured costs that were requested: `memory_mb`, `latency_ms`."""
    device_config: DeviceConfig
    loaders: StageLoaders


def check(config: ExperimentConfig, home: Home, metrics: Sequence[str] = ()) -> Checked:
    """Build the model, read the data set's declaration, and split the data set.

    Args:
        config: The experiment.
        home: The results folder, which has the run that `start` names.
        metrics: Validation metrics that must have values, beside the objective.

    Raises:
        UserError: Configuration, data or model are incompatible; the message says why and what to do.
    """
    check_device(config.training.device)
    files = weights_files(config, home)
    seed_everything(config.seed)
    net = built(config, files)
    if config.groups.encoder_lr != 1 or config.groups.layer_decay != 1:
        encoder_of(net, config.groups)  # raises where there is none
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
    for size in {stage.height_width for stage in config.stages}:
        check_pack(index, size)
    model = DepthMaskModel(net, make_link(config.depth_link, index.depth, net), net.colours)
    freeze_encoder(model, config.groups)
    sums = {where: sha256_of(path) for where, path in files.items()}
    return Checked(config, index, index.fingerprint(), parts, model, definitions(index.depth), sums)


def prepare(
    config: ExperimentConfig,
    home: Home,
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    load: bool = True,
    measure: Collection[str] = (),
) -> Prepared:
    """Call `check`, then compute colour statistics if needed, resolve the device settings, and load the samples.

    Args:
        config: The experiment.
        home: The results folder, which has the packs.
        progress: Called with the number of loaded samples and the total.
        load: Whether to load samples into memory or a pack now.
        measure: The costs to measure, of `memory_mb` and `latency_ms`; both at the size of the last stage.

    Raises:
        UserError: See `check`; or a sample cannot be read, or the requested precision gives wrong outputs on this
            machine.
    """
    checked = check(config, home)
    index, parts, model, settings = checked.index, checked.split, checked.model, config.training
    if config.data.normalisation == "data":
        model.normalise_by(*colours_of(checked, home, progress))
    fit_link(model, index, parts.train, config.stages[0].height_width)
    background = model.net.needs_background
    flops = {s.height_width: forward_flops(model, s.height_width, background) for s in config.stages}
    forward = sum(flops[s.height_width] * s.epochs * s.share for s in config.stages)
    total = TRAINING_TO_FORWARD * forward * len(parts.train)
    rules = resolve_device(settings.device, settings.precision, settings.channels_last, settings.compile, flops=total)
    worth = rules.device.type == "cpu" and total >= MEASURE_FROM_FLOPS and world_size() == 1
    fast = autotune_for(config, model, flops, rules, home) if worth else rules
    device_config = check_precision(config, model, index, parts.train, fast)
    if worth and device_config.dtype != fast.dtype:  # the memory format was the fastest in the refused precision
        right = autotune_for(config, model, flops, rules, home, fast.dtype)
        device_config = replace(right, refused=device_config.refused)
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


def autotune_for(
    config: ExperimentConfig,
    model: DepthMaskModel,
    flops: Mapping[tuple[int, int], int],
    default: DeviceConfig,
    home: Home,
    refused: torch.dtype | None = None,
) -> DeviceConfig:
    """The fastest of the settings that are `auto`, for the stage in which most is computed; see `autotune`."""
    stage = max(config.stages, key=lambda s: flops[s.height_width] * s.epochs * s.share)
    size = stage.height_width
    name = f"{config.model.component.name} {config.model.model_dump(mode='json')} {config.groups.encoder_lr == 0}"
    return autotune(
        default,
        Workload(model, name, size, stage.batch_size, flops[size]),
        home.devices,
        any_precision=config.training.precision == "auto",
        any_format=config.training.channels_last == "auto",
        refused=refused,
    )


def measured(
    config: ExperimentConfig, model: DepthMaskModel, device_config: DeviceConfig, wanted: Collection[str]
) -> dict[str, float]:
    """Measure the requested costs."""
    last, found = config.stages[-1], {}
    if "memory_mb" in wanted:
        found["memory_mb"] = memory_mb(model, last.height_width, last.batch_size)
    if "latency_ms" in wanted:
        found["latency_ms"] = latency_ms(model, last.height_width, model.net.needs_background, device_config)
    return found


def built(config: ExperimentConfig, files: Mapping[str, Path]) -> JointNet:
    """Build the network with its initial weights, from the files of `weights_files`.

    Raises:
        ConfigError: Its parameters are incompatible, or the weights that it begins with are unavailable or do not fit.
        UserError: The model of a plug-in builds something else.
    """
    where = "model"
    try:
        net: Any = (without_weights(config.model) if START in files else config.model).bind()()
        if not isinstance(net, JointNet):
            raise UserError(
                f"model '{config.model.component.name}' builds a {type(net).__name__}, which is no "
                "dmx.models.JointNet; derive it from JointNet or EncoderDecoder."
            )
        where = START
        if START in files:
            begin_with(net, files[START])
    except UserError as error:
        raise ConfigError(f"experiment '{config.name}'", [Problem(where, str(error))]) from error
    return net


@torch.no_grad()
def fit_link(model: DepthMaskModel, index: DatasetIndex, ids: tuple[str, ...], size: tuple[int, int]) -> None:
    """Fit the scale of an `Inverse` link to training samples, a few of them in an order unrelated to their listing.

    Raises:
        DataError: A sample cannot be read.
    """
    if not isinstance(model.link, Inverse):
        return
    raw: list[Tensor] = []
    hook = model.link.register_forward_pre_hook(lambda _, given: raw.append(given[0]))
    depth = []
    was_training = model.training
    model.eval()
    for batch in samples(index, ids, size):
        model(batch.image, batch.background if model.net.needs_background else None)
        raw[-1], known = raw[-1][batch.valid], batch.depth[batch.valid]
        depth.append(known)
        if len(depth) == FITTED:
            break
    hook.remove()
    model.train(was_training)
    model.link.fit(torch.cat(raw), torch.cat(depth))


def colours_of(checked: Checked, home: Home, progress: Callable[[int, int], None]) -> tuple[Rgb, Rgb]:
    """Mean and standard deviation of colours in the training part; computed once for each data set and split.

    Raises:
        DataError: A picture cannot be read, or all pictures have a single colour.
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
    """Check the precision on real batches of each stage; fall back to float32 if a lower precision is wrong.

    Args:
        config: The experiment.
        model: Its network, which is neither changed nor moved.
        index: The data set.
        ids: Samples for the check, of which the first are used.
        device_config: The chosen configuration.
        where: The setting that requests this precision; empty: the configuration, if it does.

    Raises:
        UserError: The outputs are wrong, and the precision was requested explicitly.
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
        return device_config  # training will run out of memory too, and end as out-of-memory or halve its batches


def first_batches(
    index: DatasetIndex, ids: tuple[str, ...], sizes: Iterable[tuple[tuple[int, int], int]], device_config: DeviceConfig
) -> Iterator[Batch]:
    """The first samples as batches, one for each image size and batch size."""
    for size, count in sorted(sizes):
        dataset = QuartetDataset(index, ids[:count], size, memory=False)
        host = dataset.__getitems__(range(len(dataset)))
        yield host.to(device_config.device, device_config.memory_format)
