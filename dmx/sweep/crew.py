"""How many workers, on which GPUs, with how many threads."""

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from math import inf
from multiprocessing.context import BaseContext
from time import monotonic

import torch

from dmx.config import StudyConfig
from dmx.errors import UserError
from dmx.sweep.closing import send_the_rest
from dmx.sweep.engine import Conclude, Ready, Summary, joined, ready
from dmx.sweep.process import Job
from dmx.sweep.server import server
from dmx.sweep.standing import Standing, standing
from dmx.sweep.supervisor import Slot, Supervisor
from dmx.sweep.watcher import Watcher
from dmx.tracking.home import Home


@dataclass(frozen=True)
class Crew:
    """How a study is worked on here.

    Attributes:
        workers: How many; None: one for each place on a GPU, or one.
        per_device: How many of them share a GPU.
        url: The database of the study; None: a journal in the results' home.
        timeout: Seconds after which the sweep stops.
        watchers: Who watches each worker, by its number.
        begin: Told where the study stands before the first worker starts.
        conclude: Makes what is to be kept with the study's own run when it is whole.
    """

    watchers: Callable[[int], Watcher]
    workers: int | None = None
    per_device: int = 1
    url: str | None = None
    timeout: float = inf
    begin: Callable[[Standing], None] = lambda standing: None
    conclude: Conclude = lambda config, claims: ()

    def sweep(self, config: StudyConfig, home: Home) -> Summary:
        """Run trials until the study has `config.trials` in all.

        Raises:
            UserError: As `dmx.sweep.engine.ready`; there are too few GPUs; or every trial would fail.
        """
        places = self.places(config)
        context = server(config)
        with ready(config, home, self.url) as study:
            if isinstance(study, Summary):
                return study
            return self._supervise(study, places, context)

    def join(self, name: str, home: Home) -> Summary:
        """Run trials of a study that was begun elsewhere, until it has all.

        Raises:
            UserError: As `dmx.sweep.engine.joined`, and as `sweep`.
        """
        assert self.url is not None
        study = joined(name, home, self.url)
        return self._supervise(study, self.places(study.config), server(study.config))

    def places(self, config: StudyConfig) -> list[str | None]:
        """The GPU of each worker; None: none of its own.

        Raises:
            UserError: There are too few.
        """
        gpus = visible(config)
        if not gpus:
            return [None] * (self.workers or 1)
        places = [gpu for gpu in gpus for _ in range(self.per_device)]
        count = self.workers or len(places)
        if count > len(places):
            raise UserError(
                f"{count} workers are too many for {len(gpus)} GPU{'s' * (len(gpus) > 1)} with {self.per_device} on "
                "each; take fewer workers, or raise --trials-per-device."
            )
        return [*places[:count]]

    def _supervise(self, study: Ready, places: list[str | None], context: BaseContext) -> Summary:
        self.begin(standing(study.claims))
        slots = [
            Slot(number, self._job(study, number, len(places), gpu), self.watchers(number))
            for number, gpu in enumerate(places)
        ]
        supervisor = Supervisor(study, slots, context, until=monotonic() + self.timeout)
        try:
            stopped = supervisor.run()
        except UserError as error:
            with suppress(OSError):  # there may be no room for it
                study.close(str(error), ())
            raise
        send_the_rest(study.claims, study.home)  # of trials that ended while a store was away
        summary = study.close(stopped, supervisor.runs, self.conclude)
        return replace(summary, failed=supervisor.failures >= study.config.max_failures)

    def _job(self, study: Ready, number: int, count: int, gpu: str | None) -> Job:
        return Job(
            study=study.config.dump(),
            kind=study.kind,
            has_background=study.has_background,
            home=study.home.root.resolve(),
            url=self.url,
            gpu=gpu,
            threads=max(1, torch.get_num_threads() // count),  # which OMP_NUM_THREADS bounds
            log=study.home.study(study.config.name) / f"worker-{socket.gethostname()}-{number}.log",
        )


def visible(config: StudyConfig) -> list[str]:
    """The GPUs that trials may have, as CUDA_VISIBLE_DEVICES names them."""
    if config.experiment.training.device not in ("auto", "cuda") or not torch.cuda.is_available():
        return []
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(number) for number in range(torch.cuda.device_count())]
