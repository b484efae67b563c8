"""The fastest precision and memory format of a network on this CPU, by a short measurement that is kept.

Which is fastest depends on processor, network and size: with native bfloat16 DepthMaskNet trains 1.7 times as fast as
in float32, a U-Net with depthwise convolutions no faster; without it bfloat16 is many times slower. As timings vary,
what was measured is kept in the results folder: later runs of the same network on the same machine choose alike.
"""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from pydantic import BaseModel, Field

from dmx.errors import UserError
from dmx.machine import processor
from dmx.models import DepthMaskModel
from dmx.stored import intact, make_folder, read_mapping, replace_text
from dmx.training.device import DeviceConfig

log = logging.getLogger(__name__)

MEASURE_FROM_FLOPS = 1e12
"""Runs of fewer floating-point operations, about 20 s on two CPU cores, are not worth the seconds of a measurement."""
STEP_FLOPS = 8e9
"""Of a measured step: about 0.2 s on two cores. The batch is cut to it, to two samples at least."""
TIMED_STEPS = 3
CLEARLY = 1.03
"""How much faster than the default a setting has to be."""


class Rates(BaseModel):
    """A kept measurement: what was measured where, and samples per second by setting, the default first."""

    of: dict[str, Any]
    rates: dict[str, float] = Field(min_length=1)


@dataclass(frozen=True)
class Workload:
    """The training steps of a run's most expensive stage.

    Attributes:
        model: The network, which is neither changed nor moved.
        name: Its configuration, which identifies it among measurements.
        size: (height, width) of the pictures.
        batch_size: Samples of a step.
        flops: Floating-point operations of a sample's forward pass.
    """

    model: DepthMaskModel
    name: str
    size: tuple[int, int]
    batch_size: int
    flops: int

    @property
    def samples(self) -> int:
        """The batch of a measured step."""
        return max(2, min(self.batch_size, int(STEP_FLOPS / max(1, 3 * self.flops))))


def autotune(
    default: DeviceConfig,
    work: Workload,
    folder: Path,
    *,
    any_precision: bool,
    any_format: bool,
    refused: torch.dtype | None = None,
) -> DeviceConfig:
    """Return the settings with which `work` trains fastest on this CPU; `default`, if none is clearly faster.

    Args:
        default: The settings that the rules give.
        work: The training steps.
        folder: Where measurements are kept.
        any_precision: Whether bfloat16 may be chosen; it is tried on processors with native support only.
        any_format: Whether the memory format may be chosen.
        refused: A precision that is not chosen, however fast, as its outputs are wrong.
    """
    candidates = {title(one): one for one in settings(default, any_precision, any_format)}
    if len(candidates) == 1:
        return default
    of = {
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "network": work.name,
        "size": list(work.size),
        "samples": work.samples,
        "settings": list(candidates),
    }
    rates = kept(folder, of, lambda: measured(candidates, work))
    if title(default) not in rates:  # its steps fail, as those of the training will
        return default
    said = ", ".join(f"{name} {rate:.3g}" for name, rate in rates.items()) + " samples/s"
    right = {name: rate for name, rate in rates.items() if candidates[name].dtype != refused}
    return replace(candidates[choice(right, title(default))], measured=said)


def settings(default: DeviceConfig, any_precision: bool, any_format: bool) -> list[DeviceConfig]:
    """The settings to try, the default first."""
    dtypes = [default.dtype, *([torch.bfloat16] if any_precision and native_bfloat16() else [])]
    formats = [default.memory_format, *([torch.contiguous_format] if any_format else [])]
    return [replace(default, dtype=dtype, memory_format=format) for dtype in dtypes for format in formats]


def native_bfloat16() -> bool:
    """Whether this processor has instructions for bfloat16, AVX512-BF16 or AMX; others emulate it, far slower."""
    there = torch.cpu.get_capabilities()
    return bool(there.get("avx512_bf16") or there.get("amx_bf16"))


def title(one: DeviceConfig) -> str:
    """The settings in words, such as `float32 channels_last`."""
    return f"{one.facts()['precision']} {str(one.memory_format).removeprefix('torch.')}"


def choice(rates: Mapping[str, float], default: str) -> str:
    """The setting with the greatest rate, if it is clearly greater than the default's.

    >>> choice({"float32 channels_last": 40.0, "bfloat16 channels_last": 58.0}, "float32 channels_last")
    'bfloat16 channels_last'
    >>> choice({"float32 channels_last": 40.0, "float32 contiguous_format": 41.0}, "float32 channels_last")
    'float32 channels_last'
    """
    best = max(rates, key=lambda name: rates[name])
    return best if rates[best] > CLEARLY * rates[default] else default


def kept(folder: Path, of: Mapping[str, Any], measure: Callable[[], dict[str, float]]) -> dict[str, float]:
    """The rates that are kept for `of`; measured if they are missing or damaged, while other processes wait."""
    name = hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()[:16]
    path = folder / f"{name}.json"
    make_folder(folder)
    with FileLock(folder / f"{name}.lock"):
        try:
            with intact(path, "it is measured anew"):
                return Rates.model_validate(read_mapping(path, "it is measured anew")).rates
        except (UserError, OSError):
            rates = measure()
            if rates:
                replace_text(path, Rates(of=dict(of), rates=rates).model_dump_json(indent=1))
            return rates


def measured(candidates: Mapping[str, DeviceConfig], work: Workload) -> dict[str, float]:
    """Samples per second of each setting, without those whose steps fail.

    Settings take turns, and the fastest step of each counts: what else the machine does meanwhile slows all alike.
    """
    seconds: dict[str, float] = {}
    with torch.random.fork_rng(devices=[]):
        steps = {name: step_of(candidate, work) for name, candidate in candidates.items()}
        for turn in range(1 + TIMED_STEPS):
            for name, step in [*steps.items()]:
                begun = time.perf_counter()
                try:
                    step()
                except (RuntimeError, MemoryError) as error:
                    log.debug("A step with %s failed: %s", name, error)
                    del steps[name]
                    seconds.pop(name, None)
                    continue
                if turn:  # the first step picks kernels and takes memory
                    seconds[name] = min(time.perf_counter() - begun, seconds.get(name, float("inf")))
    return {name: work.samples / least for name, least in seconds.items()}


def step_of(candidate: DeviceConfig, work: Workload) -> Callable[[], None]:
    """A training step of a copy of the network, without the update."""
    model = candidate.place(deepcopy(work.model)).train()
    image = torch.rand(work.samples, 3, *work.size).contiguous(memory_format=candidate.memory_format)
    background = image if model.net.needs_background else None

    def step() -> None:
        with candidate.autocast():
            prediction = model(image, background)
        (prediction.mask_logits.float().mean() + prediction.depth.float().mean()).backward()
        model.zero_grad()

    return step
