"""Evaluation of a run's network on any data set: every metric, by alignment, depth range, mask size and threshold."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from dmx.config.data import SplitConfig
from dmx.data.dataset import QuartetDataset
from dmx.data.layout import DatasetIndex, read
from dmx.data.loader import Sampling, make_loader
from dmx.data.split import Split, split
from dmx.errors import DataError, UserError
from dmx.experiment.accumulators import EvaluationAccumulators, StratifiedMetrics, WorstSamples
from dmx.experiment.checks import check_pack
from dmx.experiment.joined import ALONE, Joined, predictor
from dmx.experiment.prepare import FEW, first_batches
from dmx.experiment.references import Predictors, Source, kept_references, load_predictors
from dmx.experiment.run_record import read_identity
from dmx.experiment.trained import Trained
from dmx.metrics import Probabilities, definitions
from dmx.metrics.alignment import alignments
from dmx.metrics.uncertainty import Uncertainty
from dmx.quartet import Batch, Prediction
from dmx.results.records import kept_text
from dmx.results.references import references_of
from dmx.sample_table import SampleTable
from dmx.tracking.home import IDENTITY, SPLIT, Home
from dmx.training.precision import checked
from dmx.written import place

Part = Literal["all", "train", "val", "test"]
Progress = Callable[[int, int], None]


def no_progress(done: int, total: int) -> None:
    """Ignore progress."""


@dataclass(frozen=True)
class Evaluation:
    """The results of a run's network on some samples.

    Attributes:
        run: The run, or a network of others.
        data: The data set's name.
        part: The part of the data set.
        own: Whether it is the data set that the run was trained on.
        identity: What must be equal for values to be comparable, see `identity_of`; with `ids` of the samples.
        values: Every metric by its full name; with an alignment, `depth_median/...` and so on in place of `depth/...`.
        samples: Metrics of each sample.
        probabilities: Histogram of the mask probabilities.
        threshold: The best threshold on the run's own validation samples; None if these are unavailable.
        why_none: Why there is no threshold.
        strata: Values by depth range and by mask size.
        worst: Pictures of the worst samples.
        references: The metrics of the references from the run's training part on the same samples; empty where none
            apply.
        execution: The resolved device settings.
        where: A name for the samples: the part of the run's own data, or the name of another data set; with what
            joined the run.
        joined: What joined the run, as text to follow its name; empty if nothing did.
        uncertainty: What the predicted standard deviations are worth, if several predictions were averaged.
    """

    run: str
    data: str
    part: Part
    own: bool
    identity: Mapping[str, Any]
    values: Mapping[str, float | None]
    samples: SampleTable
    probabilities: Probabilities
    threshold: float | None
    why_none: str
    strata: StratifiedMetrics
    worst: WorstSamples
    references: Mapping[str, Mapping[str, float | None]]
    execution: Mapping[str, str]
    where: str
    joined: str = ""
    uncertainty: Uncertainty | None = None

    @property
    def has_mask(self) -> bool:
        """Whether any metric of the mask has a value; a network of others may give no mask."""
        return any(value is not None for name, value in self.values.items() if name.startswith("mask/"))


@dataclass(frozen=True)
class Selection:
    """Samples of a data set.

    Attributes:
        index: The data set.
        fingerprint: The data set's fingerprint.
        own: Whether it is the data set that the run was trained on.
        part: The part.
        ids: The samples.
        split: The fingerprint of the split; None if the part is `all`.
    """

    index: DatasetIndex
    fingerprint: str
    own: bool
    part: Part
    ids: tuple[str, ...]
    split: str | None

    def identity(self, size: tuple[int, int], definitions: Mapping[str, str]) -> dict[str, Any]:
        """What must be equal for values to be comparable."""
        return {
            "data": self.fingerprint,
            "split": self.split,
            "ids": hashlib.sha256("\0".join(self.ids).encode()).hexdigest(),
            "size": list(size),
            "definitions": definitions,
        }

    @property
    def groups(self) -> dict[str, str]:
        """The group of each sample."""
        return {sample.id: sample.group for sample in self.index.samples}


def select(root: Path, part: Part | None, home: Home, run: str | None, settings: SplitConfig) -> Selection:
    """Choose samples as a run does: on its own data by its split, on any other by the same settings.

    Args:
        root: The data set.
        part: The part; None: validation of the run's own data, all of any other. Test is used only if requested.
        home: The results folder.
        run: The run; None: no data set counts as its own.
        settings: How another data set is split.

    Raises:
        UserError: The data set cannot be read, or the part has no samples.
    """
    index = read(root)
    index.check_files()
    fingerprint = index.fingerprint()
    own = run is not None and read_identity(home.run(run) / IDENTITY)["data"] == fingerprint
    part = part or ("val" if own else "all")
    if part == "all":
        return Selection(index, fingerprint, own, part, tuple(sample.id for sample in index.samples), None)
    parts = own_split(home, run) if run is not None and own else split(index, **settings.model_dump())
    return Selection(index, fingerprint, own, part, ids_of(index, part, parts), parts.fingerprint)


def evaluate(
    network: Trained,
    root: Path,
    part: Part | None,
    home: Home,
    progress: Progress = no_progress,
    joined: Joined = ALONE,
) -> Evaluation:
    """Evaluate a run's network, alone or averaged with others.

    Args:
        network: The network.
        root: The data set.
        part: The part; None: validation of the run's own data, all of any other. Test is used only if requested.
        home: The results folder.
        progress: Called with the number of samples done and the total.
        joined: What is averaged with its prediction.

    Raises:
        UserError: The network and the data are incompatible, the part has no samples, a prediction is not finite, or a
            run requests a precision that gives wrong outputs on this machine.
    """
    chosen = select(root, part, home, network.run, network.config.data.split)
    index, own, part = chosen.index, chosen.own, chosen.part
    check_fits(network, index)
    network, *others = (check_precision(one, index, chosen.ids) for one in (network, *joined.others))
    joined = replace(joined, others=tuple(others))
    known = own_references(network, index, home, progress) if own else references_of_training(network, index, home)
    accumulators = EvaluationAccumulators(network.spec, index.depth, alignments(network.spec, index.depth), known)
    for batch, prediction in predictions(network, index, chosen.ids, progress, joined):
        accumulators.take(batch, prediction)
    here = (accumulators.probabilities.best_threshold, "") if own and part == "val" else None
    threshold, why_none = here or own_threshold(network, home, joined)
    return Evaluation(
        run=network.run,
        data=index.name,
        part=part,
        own=own,
        identity=chosen.identity(network.size, accumulators.definitions()),
        threshold=threshold,
        why_none=why_none,
        execution=network.device_config.facts(),
        where=(part if own else index.name if part == "all" else f"{index.name}-{part}")
        + joined.name(network.calibration),
        joined=joined.text(network.calibration),
        **accumulators.results(chosen.groups),
    )


def check_precision(network: Trained, index: DatasetIndex, ids: tuple[str, ...]) -> Trained:
    """The network in a precision in which its outputs match float32's.

    Raises:
        UserError: The run explicitly requests a precision in which they do not.
    """
    settings, device_config = network.config.training, network.device_config
    batches = first_batches(index, ids, [(network.size, FEW)], device_config)
    explicit, who = settings.precision != "auto", f"the precision that run {network.run} asks for"
    return replace(network, device_config=checked(network.model, batches, device_config, explicit, who))


def predictions(
    network: Trained, index: DatasetIndex, ids: tuple[str, ...], progress: Progress, joined: Joined = ALONE
) -> Iterator[tuple[Batch, Prediction]]:
    """Each batch of these samples, with the network's prediction, or that of the runs that are joined.

    Raises:
        UserError: A prediction is not finite.
    """
    device_config = network.device_config
    predict = predictor(network, joined)
    loader = make_loader(
        QuartetDataset(index, ids, network.size, memory=False),
        Sampling(network.config.stages[-1].batch_size),
    )
    done = 0
    for host in loader:
        batch = host.to(device_config.device, device_config.memory_format)
        prediction = predict(batch.image, batch.background)
        for name in ("mask_logits", "depth"):
            if not bool(getattr(prediction, name).isfinite().all()):
                raise UserError(
                    f"run {network.run}: prediction.{name} is not finite for one of {', '.join(batch.ids)}; its "
                    "weights are damaged or diverged: restore them from a copy, or train it again."
                )
        yield batch, prediction
        done += len(batch)
        progress(done, len(ids))


def own_references(network: Trained, index: DatasetIndex, home: Home, progress: Progress) -> Predictors:
    """The references of the run's own data, on its device; made if the run is older than they are."""
    now = {**read_identity(home.run(network.run) / IDENTITY), "definitions": definitions(index.depth)}
    opened = partial(QuartetDataset, index, size=network.size, memory=False)
    device = network.device_config.device
    made = kept_references(home, Source(index, own_split(home, network.run), opened, now, device), progress)
    return replace(made, maps=made.maps.to(device))


def references_of_training(network: Trained, index: DatasetIndex, home: Home) -> Predictors | None:
    """The references from the run's training part, to be applied to other data with depth of the same kind.

    None if their depth differs in kind, or if no references are stored.
    """
    if (network.spec.kind, network.spec.near) != (index.depth.kind, index.depth.near):
        return None
    known = references_of(home, [read_identity(home.run(network.run) / IDENTITY)])
    if known is None:
        return None
    made = load_predictors(known.folder)
    return replace(made, maps=made.maps.to(network.device_config.device))


def own_threshold(network: Trained, home: Home, joined: Joined) -> tuple[float | None, str]:
    """The best threshold on the run's own validation samples, or None and the reason why there is none."""
    try:
        index = read(place(network.config.data.root))
        index.check_files()
        if index.fingerprint() != read_identity(home.run(network.run) / IDENTITY)["data"]:
            return None, f"{index.root} is not what the run was trained on any more"
        ids = ids_of(index, "val", own_split(home, network.run))
    except UserError as error:
        return None, str(error)
    parts = [Probabilities.of(p, batch) for batch, p in predictions(network, index, ids, no_progress, joined)]
    return sum(parts[1:], parts[0]).best_threshold, ""


def own_split(home: Home, run: str) -> Split:
    """The split that the run was trained with."""
    path = home.run(run) / SPLIT
    return Split.from_json(kept_text(path), str(path))


def ids_of(index: DatasetIndex, part: Part, parts: Split) -> tuple[str, ...]:
    """The samples of a part.

    Raises:
        DataError: The part has no samples.
    """
    ids: tuple[str, ...] = getattr(parts, part)
    if not ids:
        raise DataError(f"{index.root}: its split has no {part} samples; take another --part.")
    return ids


def check_fits(network: Trained, index: DatasetIndex) -> None:
    """Check that the network can be applied to the data.

    Raises:
        UserError: It cannot.
    """
    if network.model.net.needs_background and not index.has_background:
        raise UserError(
            f"{network.run} takes a background, but '{index.name}' has none; name a run of a model with "
            "`inputs: image`."
        )
    check_pack(index, network.size)
