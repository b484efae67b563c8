"""Evaluation of a run's network on any data set: every metric, by alignment, depth range, mask size and threshold."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from dmx.data.dataset import QuartetDataset
from dmx.data.layout import DatasetIndex, read
from dmx.data.loader import Sampling, make_loader
from dmx.data.split import Split, split
from dmx.errors import DataError, UserError
from dmx.experiment.checks import check_pack
from dmx.experiment.gathered import Gathered, Strata, Worst
from dmx.experiment.prepare import FEW, first_batches
from dmx.experiment.references import Predictors, Source, kept_references
from dmx.experiment.start import read_identity
from dmx.experiment.trained import Trained
from dmx.metrics import Probabilities, definitions
from dmx.quartet import Batch, Prediction
from dmx.results.records import kept_text
from dmx.sample_table import SampleTable
from dmx.tracking.home import IDENTITY, SPLIT, Home
from dmx.training.precision import checked
from dmx.training.step import DivergedError
from dmx.written import place

Part = Literal["all", "train", "val", "test"]
Progress = Callable[[int, int], None]


def no_progress(done: int, total: int) -> None:
    """Ignore progress."""


@dataclass(frozen=True)
class Evaluation:
    """The results of a run's network on some samples.

    Attributes:
        run: The run.
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
        references: The references' metrics on the same samples; empty for data without a training part of the run.
        execution: The resolved device settings.
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
    strata: Strata
    worst: Worst
    references: Mapping[str, Mapping[str, float | None]]
    execution: Mapping[str, str]

    @property
    def where(self) -> str:
        """A name for the samples: the part of the run's own data, or the name of another data set."""
        return self.part if self.own else self.data if self.part == "all" else f"{self.data}-{self.part}"


def evaluate(
    network: Trained, root: Path, part: Part | None, home: Home, progress: Progress = no_progress
) -> Evaluation:
    """Evaluate a run's network.

    Args:
        network: The network.
        root: The data set.
        part: The part; None: validation of the run's own data, all of any other. Test is used only if requested.
        home: The results folder.
        progress: Called with the number of samples done and the total.

    Raises:
        UserError: The network and the data are incompatible, the part has no samples, or the run requests a precision
            that gives wrong outputs on this machine.
        DivergedError: A prediction is not finite.
    """
    index = read(root)
    index.check_files()
    fingerprint = index.fingerprint()
    identity = read_identity(home.run(network.run) / IDENTITY)
    own = identity["data"] == fingerprint
    part = part or ("val" if own else "all")
    check_fits(network, index)
    settings = network.config.data.split.model_dump()
    ids = ids_of(index, part, lambda: own_split(home, network) if own else split(index, **settings))
    network = check_precision(network, index, ids)
    gathered = Gathered(network, index, own_references(network, index, home, identity, progress) if own else None)
    for batch, prediction in predictions(network, index, ids, progress):
        gathered.take(batch, prediction)
    here = (gathered.probabilities.best_threshold, "") if own and part == "val" else None
    threshold, why_none = here or own_threshold(network, home, identity["data"])
    return Evaluation(
        run=network.run,
        data=index.name,
        part=part,
        own=own,
        identity={
            "data": fingerprint,
            "ids": hashlib.sha256("\0".join(ids).encode()).hexdigest(),
            "size": list(network.size),
            "definitions": gathered.definitions(),
        },
        values=gathered.values(),
        samples=gathered.samples({sample.id: sample.group for sample in index.samples}),
        probabilities=gathered.probabilities,
        threshold=threshold,
        why_none=why_none,
        strata=gathered.strata,
        worst=gathered.worst,
        references=gathered.references(),
        execution=network.device_config.facts(),
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
    network: Trained, index: DatasetIndex, ids: tuple[str, ...], progress: Progress
) -> Iterator[tuple[Batch, Prediction]]:
    """Each batch of these samples, with the network's prediction.

    Raises:
        DivergedError: A prediction is not finite.
    """
    device_config = network.device_config
    loader = make_loader(
        QuartetDataset(index, ids, network.size, memory=False),
        Sampling(network.config.stages[-1].batch_size),
    )
    done = 0
    for host in loader:
        batch = host.to(device_config.device, device_config.memory_format)
        with torch.no_grad(), device_config.autocast():
            prediction = network.model(batch.image, batch.background)
        for name in ("mask_logits", "depth"):
            if not bool(getattr(prediction, name).isfinite().all()):
                raise DivergedError(f"prediction.{name} is not finite for one of {', '.join(batch.ids)}")
        yield batch, prediction
        done += len(batch)
        progress(done, len(ids))


def own_references(
    network: Trained, index: DatasetIndex, home: Home, identity: Mapping[str, Any], progress: Progress
) -> Predictors:
    """The references of the run's own data, made if the run is older than they are."""
    now = {**identity, "definitions": definitions(index.depth)}
    opened = partial(QuartetDataset, index, size=network.size, memory=False)
    source = Source(index, own_split(home, network), opened, now, network.device_config.device)
    return kept_references(home, source, progress)


def own_threshold(network: Trained, home: Home, fingerprint: str) -> tuple[float | None, str]:
    """The best threshold on the run's own validation samples, or None and the reason why there is none."""
    try:
        index = read(place(network.config.data.root))
        index.check_files()
        if index.fingerprint() != fingerprint:
            return None, f"{index.root} is not what the run was trained on any more"
        ids = ids_of(index, "val", lambda: own_split(home, network))
    except UserError as error:
        return None, str(error)
    parts = [Probabilities.of(p, batch) for batch, p in predictions(network, index, ids, no_progress)]
    return sum(parts[1:], parts[0]).best_threshold, ""


def own_split(home: Home, network: Trained) -> Split:
    """The split that the run was trained with."""
    path = home.run(network.run) / SPLIT
    return Split.from_json(kept_text(path), str(path))


def ids_of(index: DatasetIndex, part: Part, parts: Callable[[], Split]) -> tuple[str, ...]:
    """The samples of a part.

    Raises:
        DataError: The part has no samples.
    """
    if part == "all":
        return tuple(sample.id for sample in index.samples)
    ids: tuple[str, ...] = getattr(parts(), part)
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
