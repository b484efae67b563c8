"""Pictures of the same samples with the predictions of several runs: where two differ most, or evenly spread."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import UInt8

from dmx.compare.external import is_foreign
from dmx.compare.runs import Candidate
from dmx.errors import UserError
from dmx.experiment import check_identity, prepare
from dmx.experiment.evaluate import own_split
from dmx.experiment.references import spread
from dmx.experiment.trained import best_weights, without_beginning
from dmx.tracking.home import CONFIG, IDENTITY, Home
from dmx.tracking.panel import header, row, stack
from dmx.training.checkpoint import load_weights


@dataclass(frozen=True)
class Pair:
    """A sample with the predictions of two runs.

    Attributes:
        id: The sample.
        values: Its value in both.
        picture: A panel: the first run's row above the second's.
    """

    id: str
    values: tuple[float, float]
    picture: UInt8[np.ndarray, "height width 3"]


def most_different(first: Candidate, second: Candidate, metric: str, count: int) -> list[tuple[str, float, float]]:
    """The samples whose values of `task/name` differ most between the candidates' first runs, largest first."""
    one, other = (candidate.samples[0].values(metric) for candidate in (first, second))
    apart = np.abs(other - one)
    order = np.argsort(-np.where(np.isnan(apart), -1, apart), kind="stable")[:count]
    ids = first.samples[0].ids
    return [(ids[i], float(one[i]), float(other[i])) for i in order if not np.isnan(apart[i])]


def pairs(home: Home, first: Candidate, second: Candidate, metric: str, count: int = 4) -> Iterator[Pair]:
    """Pictures of the samples that differ most.

    Raises:
        UserError: The data are missing or have changed, weights were removed, or a candidate is no run.
    """
    if foreign := [one.name for one in (first, second) if is_foreign(one.runs[0])]:
        raise UserError(f"{foreign[0]} is a network of others; pictures are of runs alone.")
    chosen = most_different(first, second, metric, count)
    rows = [rows_of_run(home, candidate.runs[0].run, [id for id, *_ in chosen]) for candidate in (first, second)]
    for id, one, other in chosen:
        cells = stack([rows[0][id], rows[1][id]], axis=0)
        yield Pair(id, (one, other), np.concatenate([header(cells.shape[1]), cells], axis=0))


def side_by_side(home: Home, runs: Sequence[str], count: int = 6) -> UInt8[np.ndarray, "height width 3"]:
    """A panel of validation samples, evenly spread: each with a row for every run, in their order.

    Args:
        home: The results folder.
        runs: Runs on the same data and split; rows of smaller pictures are enlarged.
        count: The number of samples.

    Raises:
        UserError: The data are missing or have changed, or weights were removed.
    """
    val = own_split(home, runs[0]).val
    ids = [val[number] for number in spread(len(val), count)]
    rows = [rows_of_run(home, run, ids) for run in runs]
    height, width = max(row[ids[0]].shape[:2] for row in rows)
    cells = [cv2.resize(row[id], (width, height), interpolation=cv2.INTER_NEAREST) for id in ids for row in rows]
    return np.concatenate([header(width), stack(cells, axis=0)], axis=0)


def rows_of_run(home: Home, run: str, ids: Sequence[str]) -> dict[str, np.ndarray]:
    """The panel row of each of these validation samples, predicted with a run's best weights."""
    prepared = prepare(without_beginning(home.run(run) / CONFIG), home, load=False)
    check_identity(home.run(run) / IDENTITY, prepared, f"run {run}")
    load_weights(best_weights(home, run), prepared.model)
    model = prepared.model.to(prepared.device_config.device).eval()
    rows = {}
    for batch in prepared.loaders.val():
        if {*ids}.isdisjoint(batch.ids):
            continue
        with torch.no_grad(), prepared.device_config.autocast():
            prediction = model(batch.image, batch.background)
        for index, id in enumerate(batch.ids):
            if id in ids:
                rows[id] = stack(row(batch, prediction, prepared.index.depth, index), axis=1)
    return rows
