"""How many workers, on which GPUs, with how many threads."""

import os
from collections.abc import Callable
from dataclasses import replace
from math import inf
from pathlib import Path
from time import monotonic

import torch

from dmx.config import StudyConfig
from dmx.errors import UserError
from dmx.sweep.engine import Ready, Summary, ready
from dmx.sweep.process import Job
from dmx.sweep.supervisor import Slot, Supervisor, server
from dmx.sweep.watcher import Watcher
from dmx.tracking.delivery import unsent
from dmx.tracking.home import Home


def supervise(
    config: StudyConfig,
    home: Home,
    watcher: Watcher,
    watchers: Callable[[int], Watcher],
    *,
    workers: int | None = None,
    per_device: int = 1,
    url: str | None = None,
    timeout: float = inf,
) -> Summary:
    """Run trials in processes of their own until the study has `config.trials` in all.

    Args:
        config: The study.
        home: Where results are.
        watcher: Who watches until the workers begin.
        watchers: Who watches each worker, by its number.
        workers: How many; None: one for each place on a GPU, or one.
        per_device: How many workers share a GPU.
        url: The database of the study; None: a journal in `home`.
        timeout: Seconds after which the sweep stops.

    Raises:
        UserError: As `dmx.sweep.engine.ready`; there are too few GPUs; or every trial would fail.
    """
    gpus = visible(config)
    places = [gpu for gpu in gpus for _ in range(per_device)]
    count = workers or max(1, len(places))
    if places and count > len(places):
        raise UserError(
            f"{count} workers on {len(gpus)} GPU{'s' * (len(gpus) > 1)} with {per_device} each are too many; "
            "take fewer workers, or raise --trials-per-device."
        )
    context = server(config)
    with ready(config, home, watcher, url) as study:
        if study is None:
            return Summary(config.trials, config.trials, 0, "", 0)
        slots = [
            Slot(number, job_of(study, number, count, places[number] if places else None, url), watchers(number))
            for number in range(count)
        ]
        supervisor = Supervisor(study, slots, context, until=monotonic() + timeout)
        try:
            stopped = supervisor.run()
        except UserError as error:
            study.close(str(error), 0)
            raise
        summary = study.close(stopped, 0)  # waits for the stores
        return replace(summary, unsent=summary.unsent + sum(unsent(home, run) for run in supervisor.runs))


def visible(config: StudyConfig) -> list[str]:
    """The GPUs that trials may have, as CUDA_VISIBLE_DEVICES names them."""
    if config.experiment.training.device not in ("auto", "cuda") or not torch.cuda.is_available():
        return []
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(number) for number in range(torch.cuda.device_count())]


def job_of(study: Ready, number: int, count: int, gpu: str | None, url: str | None) -> Job:
    """What worker `number` of `count` is to know."""
    folder = study.home.study(study.config.name)
    return Job(
        study=study.config.dump(),
        kind=study.kind,
        has_background=study.has_background,
        home=Path(study.home.root).resolve(),
        url=url,
        gpu=gpu,
        threads=max(1, len(os.sched_getaffinity(0)) // count),
        log=folder / f"worker-{number}.log",
    )
