"""Evaluation of a network of others, whose results are kept in a run's folder of its own, without a configuration."""

import json
from collections.abc import Iterator

import cv2
import numpy as np
import torch
from torch import Tensor

from dmx.data.dataset import QuartetDataset, collate
from dmx.data.resize import resize
from dmx.errors import UserError
from dmx.experiment.accumulators import EvaluationAccumulators
from dmx.experiment.checks import check_pack
from dmx.experiment.evaluate import Evaluation, Progress, Selection, no_progress
from dmx.foreign import Foreign, Predicts
from dmx.metrics.alignment import Alignment, alignments
from dmx.quartet import Batch, DepthSpec, Prediction, Quartet
from dmx.tracking import RunStart
from dmx.tracking.home import EXTERNAL

BATCH = 8
"""Samples that are measured at once; the network gets them one by one."""
LEAST = 1e-7
"""Distance of a probability from 0 and 1 at which its logit ends: some 16."""
METRES = (0.001, 1000.0)
"""Range of metric predictions: their inverse, where needed, ends at a millimetre."""
ROLE = "external"


def evaluate_external(
    network: Foreign, chosen: Selection, size: tuple[int, int], progress: Progress = no_progress
) -> Evaluation:
    """Evaluate a network of others.

    It sees each picture as the data set has it, resized to what it takes; its prediction is resized to `size`, where
    the truth is that of a run of this size.

    Args:
        network: The network.
        chosen: The samples.
        size: (height, width) at which predictions are compared with the truth.
        progress: Called with the number of samples done and the total.

    Raises:
        UserError: The network and the data are incompatible, or it gives no plane of finite numbers.
    """
    index = chosen.index
    if network.needs_background and not index.has_background:
        raise UserError(f"{network.file} takes a background, but '{index.name}' has none; take other data.")
    check_pack(index, size)
    spec = spec_of(network.predicts)
    accumulators = EvaluationAccumulators(spec, index.depth, alignments_for(network.predicts, index.depth))
    for batch, prediction in predictions(network, chosen, size, progress):
        accumulators.take(batch, prediction)
    identity = chosen.identity(size, accumulators.definitions())
    return Evaluation(
        run=network.name,
        data=index.name,
        part=chosen.part,
        own=False,
        identity=identity,
        threshold=None,
        why_none="only a run has one, that of its own validation samples",
        execution={"device": "cpu", "runtime": network.runtime},
        where=f"{index.name}-{chosen.part}-{size[0]}x{size[1]}-{chosen.fingerprint[:4]}{identity['ids'][:4]}",
        **accumulators.results(chosen.groups),
    )


def spec_of(predicts: Predicts) -> DepthSpec:
    """The depth spec of a network's predictions."""
    if predicts == "metric":
        return DepthSpec("metric", *METRES)
    return DepthSpec("relative", 0.0, 1.0, near="high" if predicts == "disparity" else "low")


def alignments_for(predicts: Predicts, true: DepthSpec) -> tuple[Alignment, ...]:
    """The alignments that make sense: depth without a unit is never compared as it is."""
    return alignments(spec_of(predicts), true) if predicts == "metric" else ("least_squares",)


def predictions(
    network: Foreign, chosen: Selection, size: tuple[int, int], progress: Progress
) -> Iterator[tuple[Batch, Prediction]]:
    """Each batch of these samples at `size`, with the network's prediction.

    Raises:
        DataError: The network gives no plane of finite numbers.
    """
    samples = QuartetDataset(chosen.index, chosen.ids, size, memory=False)
    for start in range(0, len(samples), BATCH):
        originals = [samples.original(number) for number in range(start, min(start + BATCH, len(samples)))]
        found = [predicted(network, original, size) for original in originals]
        batch = collate([resize(original, size) for original in originals]).to(torch.device("cpu"))
        yield batch, Prediction(*(torch.stack(planes)[:, None] for planes in zip(*found, strict=True)))
        progress(start + len(originals), len(samples))


def predicted(network: Foreign, sample: Quartet, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The mask's logits and the depth of a sample at `size`; logits are NaN where the network gives no mask."""
    depth, mask = network.run(sample.image, sample.background if network.needs_background else None)
    if mask is None:
        return torch.full(size, torch.nan), sized(depth, size)
    return torch.logit(sized(mask, size), eps=LEAST), sized(depth, size)


def sized(plane: np.ndarray, size: tuple[int, int]) -> Tensor:
    """A plane resized to `size`, bilinearly."""
    return torch.from_numpy(cv2.resize(plane, size[::-1], interpolation=cv2.INTER_LINEAR))


def start_of(network: Foreign) -> RunStart:
    """The description of a network of others in the journal, and thereby in MLflow."""
    facts = {key: value for key, value in network.facts.items() if value not in (None, "")}
    return RunStart(
        experiment=ROLE,
        name=network.name,
        tags={"dmx.role": ROLE, "dmx.sha256": network.sha256},
        params=facts,
        files={EXTERNAL: json.dumps(facts, indent=1)},
    )
