"""The load of the machine, under the names of MLflow's system metrics, so that MLflow's page shows them."""

import sys
import time

import psutil

EVERY = 10.0
"""Seconds between two measurements."""


class SystemMetricsSampler:
    """Measures the load of the machine at most every `EVERY` seconds."""

    def __init__(self) -> None:
        self._next = time.monotonic() + EVERY
        psutil.cpu_percent()  # it measures the time since its last call

    def read(self) -> dict[str, float]:
        """The load if a measurement is due, otherwise an empty dict; measuring takes 0.2 ms."""
        now = time.monotonic()
        if now < self._next:
            return {}
        self._next = now + EVERY
        return load()


def load() -> dict[str, float]:
    """CPU and memory used by all processes, memory of this process, and use of its GPUs if any.

    Percentages in [0, 100], since the last call; memory in units of 10^6 bytes.
    """
    values = {
        "system/cpu_utilization_percentage": psutil.cpu_percent(),
        "system/system_memory_usage_megabytes": psutil.virtual_memory().used / 1e6,
        "system/process_memory_usage_megabytes": psutil.Process().memory_info().rss / 1e6,
    }
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        for index in range(torch.cuda.device_count()):
            values[f"system/gpu_{index}_memory_usage_megabytes"] = torch.cuda.memory_reserved(index) / 1e6
    return values
