"""The process that measures one network: `python -m dmx.deliver.bench.worker SOURCE`.

It loads the network, then answers each line of its standard input by a line of its standard output, both JSON. torch is
imported only where it is measured, so that the memory of the other forms is without it.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from dmx.deliver.exported import ExportedNetwork, Maps, Pictures, at_own_size
from dmx.errors import shortened
from dmx.machine import forget_peak_memory, keeping_freed_memory, peak_memory

Network = Callable[[Pictures, Pictures | None], list[Maps]]


def main(source: dict[str, Any]) -> None:
    """Load the network of `source` and answer until standard input ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no answer
    try:
        size = source["size"][0], source["size"][1]
        network, needs_background, threads = opened(source, size)
        answer(answers, {})
        with keeping_freed_memory():  # as `dmx predict` does
            for line in sys.stdin:
                asked = json.loads(line)
                given = pictures(asked["batch"], size)
                behind = pictures(asked["batch"], size) if needs_background else None
                found = timed(network, given, behind, asked["seconds"], asked["least"])
                answer(answers, found | {"threads": threads})
    except Exception as error:  # whatever a network raises is told, and the other networks are measured
        answer(answers, {"failure": shortened(f"{type(error).__name__}: {error}".partition("\n")[0])})


def answer(to: TextIO, found: dict[str, Any]) -> None:
    """Write one answer."""
    to.write(json.dumps(found) + "\n")
    to.flush()


def opened(source: dict[str, Any], size: tuple[int, int]) -> tuple[Network, bool, int]:
    """The network, whether it takes the background, and with how many threads it predicts."""
    if "file" in source:
        exported = ExportedNetwork(Path(source["file"]), source["threads"])
        exported.size = size
        return exported, exported.needs_background, exported.threads
    import torch

    from dmx.deliver.export.graph import PhotographToMaps, as_run, of_archive
    from dmx.experiment.trained import trained
    from dmx.tracking.home import Home

    torch.set_num_threads(source["threads"])
    if "archive" in source:
        run, needs_background = of_archive(Path(source["archive"])), source["needs_background"]
    else:
        model = trained(Home(Path(source["home"])), source["run"]).model.to("cpu")
        graph: torch.nn.Module = PhotographToMaps(model, dynamic=False).eval()
        if source["form"] == "compiled":
            graph.compile(dynamic=False)  # for each size of its batch, as in training
        run, needs_background = as_run(graph), model.net.needs_background

    def network(images: Pictures, backgrounds: Pictures | None) -> list[Maps]:
        return at_own_size(run, size, images, backgrounds)

    return network, needs_background, torch.get_num_threads()


def pictures(count: int, size: tuple[int, int]) -> list[np.ndarray]:
    """Random pictures; no network here takes longer for some than for others."""
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(count)]


def timed(network: Network, given: Pictures, behind: Pictures | None, seconds: float, least: int) -> dict[str, Any]:
    """Predict one batch again and again.

    Args:
        network: The network.
        given: The batch.
        behind: The scenes without the object, if the network takes them.
        seconds: For how long.
        least: How often at least.

    Returns:
        The `seconds` of each call, the processor time of all of them (`cpu`), and the process's `peak` memory in bytes.
    """
    forget_peak_memory()
    times: list[float] = []
    processor, begun = time.process_time(), time.perf_counter()
    while len(times) < least or time.perf_counter() - begun < seconds:
        start = time.perf_counter()
        network(given, behind)
        times.append(time.perf_counter() - start)
    return {"seconds": times, "cpu": time.process_time() - processor, "peak": peak_memory()}


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
