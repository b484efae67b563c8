"""From a configuration to everything that a run needs: what a user can have got wrong is found before it is written."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dmx.config import ExperimentConfig
from dmx.data.colours import kept_colours
from dmx.data.layout import DatasetIndex, read
from dmx.data.split import Split, split
from dmx.errors import ConfigError, DataError, Problem, UserError
from dmx.experiment.defined import check_defined
from dmx.experiment.exactness import exact
from dmx.experiment.loaders import StageLoaders
from dmx.metrics import definitions, names
from dmx.models.inputs import needs_background
from dmx.models.joint import DepthMaskModel, JointNet, Rgb, describe_parameters, make_link
from dmx.tracking.home import Home
from dmx.training.costs import latency_ms, memory_mb
from dmx.training.execution import Execution, check_device, choose, forward_flops
from dmx.training.processes import processes
from dmx.training.seeding import seed_everything
from dmx.written import place

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
        progress: Told how many of how many samples are ready.
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
    execution = choose(
        settings.device,
        settings.precision,
        settings.channels_last,
        settings.compile,
        flops=TRAINING_TO_FORWARD * forward * len(parts.train),
    )
    execution = exact(config, model, index, parts.train, execution)
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


def check_fit(config: ExperimentConfig, index: DatasetIndex, metrics: Iterable[str]) -> None:
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
    for metric in metrics:
        if metric not in known:
            where = "objective.metric" if metric == config.objective.metric else "objectives"
            what = f"'{metric}' is not defined for {kind} depth"
            problems.append(Problem(where, f"{what}; take one of {', '.join(sorted(known))}"))
    if problems:
        raise ConfigError(f"experiment '{config.name}'", problems)
