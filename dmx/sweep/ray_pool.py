"""Workers as tasks of a Ray cluster, each with a CPU or a fraction of a GPU, on any machine of the cluster.

If a machine is lost, the next task resumes its trial from the checkpoint, as the same trial and the same run.
"""

import os
import queue
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from dmx.config import StudyConfig
from dmx.errors import UserError
from dmx.sweep.events import Event, EventSender, FatalError, SamplesLoaded, StepDone, WorkerExited
from dmx.sweep.pool import WorkerPool, WorkerSlot, WorkerSpec
from dmx.sweep.process import EventThread


def run_trial(spec: WorkerSpec, owner: str, inbox: Any) -> None:
    """A Ray task: claim a trial, train it, and send events to the pool's inbox."""

    def send(event: Event) -> None:
        if not isinstance(event, StepDone | SamplesLoaded):  # too frequent to send over the network
            inbox.put((owner, event))

    events = EventThread(send)
    try:
        next(spec.worker(owner, EventSender(events.send)).run_trials(), None)
    except UserError as error:
        events.send(FatalError(str(error)))
    finally:
        events.close()


@dataclass
class RayPool(WorkerPool):
    """Workers in a Ray cluster, each for one trial.

    Attributes:
        address: The cluster's address; `auto`: the cluster of this machine, `local`: a new one on this machine.
    """

    address: str = "auto"
    ray: Any = field(init=False)
    task: Any = field(init=False)
    inbox: Any = field(init=False)
    to_cancel: list[tuple[Any, bool]] = field(default_factory=list, init=False)

    def _prepare(self, config: StudyConfig) -> list[str | None]:
        """Connect to the cluster.

        Raises:
            UserError: Ray is not installed, there is no cluster, or no database that its machines share.
        """
        if self.url is None:
            raise UserError("--ray needs --storage: the cluster's machines share the study's trials in a database.")
        self.ray = connect(self.address)
        from ray.util.queue import Queue

        self.inbox = Queue()
        has = self.ray.cluster_resources()
        on_gpus = config.experiment.training.device in ("auto", "cuda") and has.get("GPU", 0) > 0
        share = 1 / self.per_device if on_gpus else 0
        self.task = self.ray.remote(num_cpus=1, num_gpus=share, max_retries=0)(run_trial)
        return [None] * (self.workers or int(has["GPU"] * self.per_device if on_gpus else has["CPU"]))

    def _start(self, slot: WorkerSlot, owner: str) -> Any:
        return self.task.remote(slot.spec, owner, self.inbox)

    def _receive(self, timeout: float) -> Iterator[tuple[WorkerSlot, Event]]:
        self._cancel()
        running = [(slot, slot.worker) for slot in self.slots if slot.worker is not None]
        by_owner = {worker.owner: slot for slot, worker in running}
        ended, _ = self.ray.wait([worker.handle for _, worker in running], timeout=timeout)
        while True:
            try:
                owner, event = self.inbox.get(block=False)
            except queue.Empty:
                break
            if owner in by_owner:
                yield by_owner[owner], event
        for slot, worker in running:
            if worker.handle in ended:
                yield slot, self._exited(worker.handle)

    def _exited(self, task: Any) -> WorkerExited:
        try:
            self.ray.get(task)
        except self.ray.exceptions.TaskCancelledError:
            return WorkerExited(died=not self.stopped, reason="its task was cancelled")
        except self.ray.exceptions.RayError as error:
            return WorkerExited(died=True, reason=str(error).strip().rpartition("\n")[2])
        return WorkerExited()

    def _interrupt(self, handle: Any) -> None:
        self.to_cancel.append((handle, False))  # cancelled later: a signal handler may interrupt Ray itself

    def _kill(self, handle: Any) -> None:
        self.to_cancel.append((handle, True))

    def _cancel(self) -> None:
        while self.to_cancel:
            task, force = self.to_cancel.pop(0)
            self.ray.cancel(task, force=force)

    def _close(self) -> None:
        self._cancel()
        self.inbox.shutdown()


def connect(address: str) -> Any:
    """Connect Ray to a cluster and return the module.

    Raises:
        UserError: Ray is not installed, or there is no such cluster.
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
