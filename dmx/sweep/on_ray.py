"""Trials as tasks of a Ray cluster: Ray gives each its CPUs or its part of a GPU, on whichever machine has them.

What a lost machine leaves, the next task goes on with: from the checkpoint, in the same trial and the same run.
"""

import os
import queue
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Any

from dmx.config import StudyConfig, parse_study
from dmx.config.space import build_space
from dmx.errors import UserError
from dmx.sweep.claims import unique
from dmx.sweep.crew import Crew
from dmx.sweep.engine import GOES_ON, Ready, Summary, ready
from dmx.sweep.known import note_death, note_overdue
from dmx.sweep.process import Job, Said
from dmx.sweep.standing import standing
from dmx.sweep.storage import open_claims
from dmx.sweep.supervisor import FAILURES, GRACE
from dmx.sweep.watcher import Watcher
from dmx.sweep.worker import Worker
from dmx.tracking.home import Home

TICK = 0.5
"""Seconds between two looks at what has been said."""
QUIET = ("step", "loading")
"""Messages that would be too many to send over a network."""


class Outbox:
    """Sends what a task says to the queue that its supervisor reads."""

    def __init__(self, line: Any, owner: str) -> None:
        self.line, self.owner = line, owner

    def send(self, message: tuple[Any, ...]) -> None:
        """As a pipe's."""
        if message[0] not in QUIET:
            self.line.put((self.owner, message))


def trial(job: Job, owner: str, line: Any) -> bool:
    """Claim a trial and train it; gives whether another one may be left."""
    config, home, said = parse_study(job.study, "study"), Home(job.home), Said(Outbox(line, owner))
    claims = open_claims(config, home.study(config.name), job.url, owner)
    worker = Worker(config, home, claims, build_space(config, job.kind, job.has_background), said)
    try:
        return next(worker.work(), None) is not None
    except UserError as error:
        said.mistake(str(error))
        return False
    finally:
        said.close()


@dataclass(frozen=True)
class RayCrew(Crew):
    """How a study is worked on by a Ray cluster.

    Attributes:
        address: The cluster: `auto` for the one that this machine is part of, `local` for one made here and now.
    """

    address: str = "auto"

    def sweep(self, config: StudyConfig, home: Home) -> Summary:
        """Run trials until the study has `config.trials` in all.

        Raises:
            UserError: As `Crew.sweep`; or there is no Ray, or no cluster, or no database that its machines share.
        """
        if self.url is None:
            raise UserError("--ray needs --storage: the cluster's machines share the study's trials in a database.")
        ray = connected(self.address)
        with ready(config, home, self.url) as study:
            if isinstance(study, Summary):
                return study
            self.begin(standing(study.claims))
            tasks = Tasks(ray, study, self._task(ray, study), self.watchers, self._places(ray, config))
            stopped = tasks.run(time.monotonic() + self.timeout)
            if tasks.mistake:
                study.close(tasks.mistake, ())
                raise UserError(tasks.mistake)
            return study.close(stopped, (), self.conclude)

    def _task(self, ray: Any, study: Ready) -> Callable[[str, Any], Any]:
        gpus = 1 / self.per_device if on_gpus(ray, study.config) else 0
        task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(trial)
        job = self._job(study, 0, 1, None)
        return lambda owner, line: task.remote(job, owner, line)

    def _places(self, ray: Any, config: StudyConfig) -> int:
        gpus = ray.cluster_resources().get("GPU", 0) * self.per_device
        return self.workers or int(gpus if on_gpus(ray, config) else ray.cluster_resources()["CPU"])


def connected(address: str) -> Any:
    """Ray, in a cluster.

    Raises:
        UserError: It is not installed, or there is no such cluster.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ImportError:
        raise UserError("--ray needs Ray; install it with `pip install 'dmx[ray]'`.") from None
    here = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"} if address == "local" else {}
    try:
        ray.init(address, log_to_driver=False, logging_level="error", **here)  # type: ignore[arg-type]  # as it takes
    except ConnectionError as error:
        raise UserError(f"--ray {address}: {str(error).partition(chr(10))[0]}") from None
    return ray


def on_gpus(ray: Any, config: StudyConfig) -> bool:
    """Whether trials are to have GPUs."""
    return config.experiment.training.device in ("auto", "cuda") and ray.cluster_resources().get("GPU", 0) > 0


@dataclass
class Tasks:
    """Keeps tasks on a study until all trials have ended.

    Attributes:
        task: Starts one, given its name and the queue that it speaks to.
        watchers: Who watches each place.
        places: How many tasks at a time.
    """

    ray: Any
    study: Ready
    task: Callable[[str, Any], Any]
    watchers: Callable[[int], Watcher]
    places: int
    mistake: str = field(default="", init=False)
    stopped: str = field(default="", init=False)
    leave: float = field(default=inf, init=False)
    failures: int = field(default=0, init=False)
    running: dict[Any, str] = field(default_factory=dict, init=False)
    watching: dict[str, tuple[int, Watcher]] = field(default_factory=dict, init=False)
    trials: dict[str, int] = field(default_factory=dict, init=False)
    ends: dict[str, float] = field(default_factory=dict, init=False)

    def run(self, until: float) -> str:
        """Run them; gives why they were stopped before the last trial."""
        from ray.util.queue import Queue

        self.line = Queue()
        free = {number: self.watchers(number) for number in range(self.places)}
        try:
            while self._staffed(free) or self.running:
                self._look()
                for done in self.ray.wait([*self.running], timeout=TICK)[0]:
                    self._ended(done, free)
                self._mind_the_clock(time.monotonic(), until)
        except KeyboardInterrupt:
            self._stop(GOES_ON)
            self.ray.wait([*self.running], num_returns=len(self.running), timeout=60)
        self._look()
        self.line.shutdown()
        return self.stopped

    def _staffed(self, free: dict[int, Watcher]) -> bool:
        """Start what there is room and work for; whether anything was started."""
        left = self.study.config.trials - self.study.claims.finished()
        count = 0 if self.stopped else min(len(free), left - len(self.running))
        for number in [*free][: max(0, count)]:
            owner = unique()
            self.watching[owner] = number, free.pop(number)
            self.running[self.task(owner, self.line)] = owner
        return count > 0

    def _look(self) -> None:
        """Take in what tasks have said."""
        while True:
            try:
                owner, (what, *rest) = self.line.get(block=False)
            except queue.Empty:
                return
            if what == "mistake":
                self.mistake = rest[0]
                self._stop(self.mistake)
                continue
            getattr(self.watching[owner][1], what)(*rest)
            if what == "claimed":
                self.trials[owner] = rest[0]
            elif what == "start" and self.study.config.trial_timeout is not None:
                self.ends[owner] = time.monotonic() + self.study.config.trial_timeout + GRACE
            elif what in ("held", "told"):
                self.trials.pop(owner, None)
                self.study.note()
                self._failed(rest[1].outcome in FAILURES, f"{rest[1].outcome}: {rest[1].reason}")

    def _ended(self, done: Any, free: dict[int, Watcher]) -> None:
        """A task is over; what it left undone is for the next."""
        owner = self.running.pop(done)
        try:
            self.ray.get(done)
        except (self.ray.exceptions.RayError, KeyboardInterrupt) as error:
            self._look()
            if (number := self.trials.pop(owner, None)) is not None and not self.stopped:
                note_death(self.study.claims, self.study.home, number)
            elif not self.stopped:
                self._failed(True, str(error).strip().rpartition("\n")[2])
            self.study.claims.release(owner)
        number, watcher = self.watching[owner]
        free[number] = watcher

    def _failed(self, failed: bool, reason: str) -> None:
        self.failures = self.failures + 1 if failed else 0
        if self.failures >= self.study.config.max_failures and not self.stopped:
            self._stop(f"{self.failures} failures in a row, the last {reason}")

    def _stop(self, reason: str) -> None:
        """Have every task finish its step, save, and end."""
        self.stopped, self.leave = reason, time.monotonic() + GRACE
        for task in self.running:
            self.ray.cancel(task)

    def _mind_the_clock(self, now: float, until: float) -> None:
        """Stop when the time is up; end whoever does not stop, and whose trial is beyond its own time."""
        if now > until and not self.stopped:
            self._stop("the time is up; " + GOES_ON)
        for task, owner in self.running.items():
            if now > self.ends.get(owner, inf) and owner in self.trials:
                note_overdue(self.study.claims, self.trials[owner], self.study.config.trial_timeout or 0.0)
            if now > min(self.ends.get(owner, inf), self.leave):
                self.ray.cancel(task, force=True)
