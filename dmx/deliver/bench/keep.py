"""The record of a measurement: ready for JSON, and kept with the run, and thereby in MLflow."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dmx.deliver.bench.measure import Measured, Row, Settings
from dmx.deliver.bench.variants import written
from dmx.machine import cores, processor
from dmx.results.records import ended
from dmx.stored import make_folder, replace_text
from dmx.tracking import RunStart, open_run
from dmx.tracking.environment import installed
from dmx.tracking.home import BENCHMARKS, Home

PACKAGES = ("dmx", "torch", "onnxruntime", "numpy")
LOGGED = ("latency_ms", "latency_p95_ms", "pictures_per_second", "cpu_ms", "memory_mb")
"""What of a row goes to MLflow as metrics."""


def record(found: Measured, settings: Settings, load: float) -> dict[str, Any]:
    """Everything measured, and on what.

    Args:
        found: What was measured.
        settings: How.
        load: The machine's load average before.
    """
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": processor(),
        "cores": os.cpu_count(),
        "cores_allowed": cores(),
        "threads": settings.threads,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: known for name in PACKAGES if (known := installed(name))},
        "load_before": load,
        "cores_of_others": found.others,
        "busy": busy(found, settings),
        "rounds": settings.rounds,
        "rows": [asdict(row) for row in found.rows],
        "failures": found.failures,
    }


def busy(found: Measured, settings: Settings) -> bool:
    """Whether other processes took cores that the measurement had use for."""
    return found.others + settings.threads > 1.1 * (os.cpu_count() or 1)


def keep(kept: dict[str, Any], rows: Sequence[Row], home: Home, run: str) -> tuple[Path, int]:
    """Write a record to the run's folder, and log its metrics at the step that is its number.

    Args:
        kept: The record.
        rows: What was measured.
        home: The folder of results.
        run: The run, which has ended.

    Raises:
        UserError: Another process is writing the run.

    Returns:
        The file, and the number of events not yet sent to MLflow and TensorBoard.
    """
    result = ended(home, run)
    tracker = open_run(home, run, RunStart(experiment="", name=run))
    folder = home.run(run) / BENCHMARKS
    make_folder(folder)
    number = 1 + max((int(path.stem) for path in folder.glob("*.json") if path.stem.isdigit()), default=0)
    path = folder / f"{number:04d}.json"
    replace_text(path, json.dumps(kept, indent=1))
    own = {(row.form, row.size, row.batch): asdict(row) for row in rows if row.network == run}
    values = {
        f"bench/{form}/{written(size)}/batch_{batch}/{name}": row[name]
        for (form, size, batch), row in own.items()
        for name in LOGGED
    }
    tracker.log(number, values)
    tracker.artifact(path, BENCHMARKS)
    return path, tracker.finish(result.outcome, result.reason)
