"""How busy the machine is, under the names of MLflow's own system metrics, so that its page finds them."""

import sys

import psutil


def load() -> dict[str, float]:
    """Processor and memory in use by everybody, memory of this process, and of its GPUs if it has taken any.

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
