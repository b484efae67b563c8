"""From a configuration to everything that a run needs: what a user can have got wrong is found, nothing is written."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmx.config import ExperimentConfig
from dmx.data.layout import DatasetIndex, read
from dmx.data.split import Split, split
from dmx.data.stats import read_stats
from dmx.errors import ConfigError, DataError, Problem, UserError
from dmx.experiment.loaders import StageLoaders
from dmx.metrics import definitions, names
from dmx.models.inputs import needs_background
from dmx.models.joint import DepthMaskModel, JointNet, Rgb, describe_parameters, make_link
from dmx.tracking.home import Home
from dmx.training.costs import latency_ms, memory_mb
from dmx.training.execution import Execution, check_device, choose, forward_flops
from dmx.training.processes import processes
from dmx.training.seeding import seed_everything

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
    execution: Execution
    loaders: StageLoaders


def check(config: ExperimentConfig) -> Checked:
    """Read what the data set says of itself, split it, and build the model.

    Raises:
        UserError: Something does not fit together; the message says what and what to do.
    """
    check_device(config.training.device)
    index = read(Path(config.data.root))
    index.check_files()
    check_fit(config, index)
    check_parts(config)
    parts = split(index, **config.data.split.model_dump())
    if len(parts.train) < 2:
        raise DataError(
            f"{index.root}: one training sample is left, but batch norm needs two; add samples or split less."
        )
    seed_everything(config.seed)
    net = built(config)
    if not isinstance(net, JointNet):
        raise UserError(
            f"model '{config.model.component.name}' builds a {type(net).__name__}, which is no dmx.models.JointNet; "
            "derive it from JointNet or EncoderDecoder."
        )
    for size in {stage.height_width for stage in config.stages}:
        check_pack(index, size)
    model = DepthMaskModel(net, make_link(config.depth_link, index.depth), normalisation_of(config, net, index))
    return Checked(config, index, index.fingerprint(), parts, model, definitions(index.depth))


def prepare(
    config: ExperimentConfig,
    home: Home,
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    load: bool = True,
    measure: Collection[str] = (),
) -> Prepared:
    """As `check`; then choose how to use the machine, and bring the samples into memory or a pack.

    Args:
        config: The experiment.
        home: Where packs are kept.
        progress: Told how many of how many samples are ready.
        load: Whether samples are brought into memory or a pack now.
        measure: Of `memory_mb` and `latency_ms`, what is to be measured; both at the size of the last stage.

    Raises:
        UserError: As `check`; or a sample cannot be read.
    """
    checked = check(config)
    index, parts, model, settings = checked.index, checked.split, checked.model, config.training
    background = model.net.needs_background
    flops = {s.height_width: forward_flops(model, s.height_width, background) for s in config.stages}
    forward = sum(flops[s.height_width] * s.epochs for s in config.stages)
    execution = choose(
        settings.device,
        settings.precision,
        settings.channels_last,
        settings.compile,
        flops=TRAINING_TO_FORWARD * forward * len(parts.train),
    )
    fingerprint = checked.data_fingerprint
    loaders = StageLoaders(
        index, fingerprint, parts, config.stages, config.data, config.augment, config.seed, execution, home.packs
    )
    if load:
        loaders.preload(progress)
    return Prepared(
        **vars(checked),
        parameters=describe_parameters(model.net),
        multiply_adds=flops[config.stages[-1].height_width] // 2,
        measured=measured(config, model, execution, measure),
        execution=execution,
        loaders=loaders,
    )


def check_parts(config: ExperimentConfig) -> None:
    """Make sure that each process gets its part of every batch.

    Raises:
        UserError: A batch does not divide by their number, or leaves one sample to each.
    """
    count = processes()
    for i, stage in enumerate(config.stages):
        if count > 1 and (stage.batch_size % count or stage.batch_size < 2 * count):
            raise UserError(
                f"stages.{i}.batch_size is {stage.batch_size}, which is for {count} processes together; take a "
                f"multiple of {count}, and at least {2 * count}."
            )


def measured(
    config: ExperimentConfig, model: DepthMaskModel, execution: Execution, wanted: Collection[str]
) -> dict[str, float]:
    """The costs that are wanted, of those that are measured."""
    last, found = config.stages[-1], {}
    if "memory_mb" in wanted:
        found["memory_mb"] = memory_mb(model, last.height_width, last.batch_size)
    if "latency_ms" in wanted:
        found["latency_ms"] = latency_ms(model, last.height_width, model.net.needs_background, execution)
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


def check_pack(index: DatasetIndex, size: tuple[int, int]) -> None:
    """Make sure that a pack holds as many pixels as are asked for.

    Raises:
        DataError: It was made for a smaller size.
    """
    if index.pack is not None and any(wanted > there for wanted, there in zip(size, index.pack.size, strict=True)):
        height, width = index.pack.size
        raise DataError(
            f"{index.root}: is a pack of {height}x{width}, but a stage asks for {size[0]}x{size[1]}, which would only "
            "enlarge; pack the data set at that size, or train on the data set itself."
        )


def normalisation_of(config: ExperimentConfig, net: JointNet, index: DatasetIndex) -> tuple[Rgb, Rgb]:
    """Mean and deviation of colours as the configuration wants them.

    Raises:
        DataError: They are to be those of the data, and `dmx data stats` has not been asked for these data.
    """
    if config.data.normalisation == "model":
        return net.colours
    stats = read_stats(index.root)
    if stats is None or stats.fingerprint != index.fingerprint():
        raise DataError(
            f"{index.root}: data.normalisation is `data`, but {'no' if stats is None else 'an outdated'} stats.json is "
            f"there; run `dmx data stats {index.root}`."
        )
    return stats.image_mean, stats.image_std


def check_fit(config: ExperimentConfig, index: DatasetIndex) -> None:
    """Make sure that the experiment and the data set go together.

    Raises:
        ConfigError: They do not; all reasons are given.
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
    if config.objective.metric not in known:
        what = f"'{config.objective.metric}' is not defined for {kind} depth"
        problems.append(Problem("objective.metric", f"{what}; take one of {', '.join(sorted(known))}"))
    if problems:
        raise ConfigError(f"experiment '{config.name}'", problems)
