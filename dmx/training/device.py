"""The device of a run: precision, memory format and compilation; a network's cost on it; out-of-memory handling."""

import gc
import shutil
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from dmx.errors import UserError
from dmx.models import DepthMaskModel

# Compilation takes 40 to 60 s and pays off from this many floating-point operations on: about 10 minutes at the
# baseline's speed, measured on two CPU cores (0.1 TFLOP/s) and assumed for a data-centre GPU (50 TFLOP/s).
COMPILE_FROM_FLOPS = {"cpu": 6e13, "cuda": 3e16}

LATENCY_SECONDS = 0.3
"""Seconds for which a latency is measured, after the first call."""
FLOAT32_BYTES = 4
M = TypeVar("M", bound=nn.Module)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class DeviceConfig:
    """How a run uses its device: the settings with each `auto` resolved on this machine."""

    device: torch.device
    dtype: torch.dtype
    memory_format: torch.memory_format
    compile: bool
    refused: str = ""
    """The precision that `auto` rejected, and the part of the network that it computes wrongly."""
    measured: str = ""
    """Samples per second of the settings among which `auto` chose, if it measured them."""

    def place(self, model: M) -> M:
        """Move a model to the device, in the memory format."""
        return model.to(self.device, memory_format=self.memory_format)  # type: ignore[call-overload,no-any-return]

    def autocast(self) -> AbstractContextManager[None]:
        """The autocast context of the forward pass."""
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32)

    def scaler(self) -> torch.amp.GradScaler:
        """The gradient scaler, enabled for float16 only."""
        return torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)

    def facts(self) -> dict[str, str]:
        """The settings as strings, for the run's record; without what was measured, which settings do not depend on."""
        return {
            "device": str(self.device),
            "precision": str(self.dtype).removeprefix("torch."),
            "channels_last": str(self.memory_format == torch.channels_last).lower(),
            "compile": str(self.compile).lower(),
            **({"precision_refused": self.refused} if self.refused else {}),
        }


def resolve_device(
    device: Literal["auto", "cpu", "cuda", "mps"],
    precision: Literal["auto", "float32", "bfloat16", "float16"],
    channels_last: Literal["auto"] | bool,
    compile: Literal["auto"] | bool,
    flops: float,
) -> DeviceConfig:
    """Resolve the settings of a run that will spend `flops` floating-point operations.

    Precision `auto` is bfloat16 on CUDA GPUs with native support and float32 elsewhere; on a CPU `autotune` may find a
    better one. Compile `auto` is on if the run is long enough and a C++ compiler is available.

    Raises:
        UserError: The device is not available.
    """
    check_device(device)
    where = torch.device(_best_device() if device == "auto" else device)
    native = where.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    dtype = (torch.bfloat16 if native else torch.float32) if precision == "auto" else DTYPES[precision]
    last = where.type != "mps" if channels_last == "auto" else channels_last
    long_enough = flops > COMPILE_FROM_FLOPS.get(where.type, float("inf"))
    worth = long_enough and shutil.which("g++") is not None if compile == "auto" else compile
    return DeviceConfig(where, dtype, torch.channels_last if last else torch.contiguous_format, worth)


def check_device(device: Literal["auto", "cpu", "cuda", "mps"]) -> None:
    """Check that the device is available.

    Raises:
        UserError: It is not available.
    """
    if (device == "cuda" and not torch.cuda.is_available()) or (
        device == "mps" and not torch.backends.mps.is_available()
    ):
        raise UserError(f"training.device is {device}, but torch finds none on this machine; use auto or cpu.")


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def forward_flops(net: nn.Module, size: tuple[int, int], with_background: bool) -> int:
    """Floating-point operations of one sample's forward pass (a multiply-add counts as two).

    Computed on fake tensors (shapes only), which take no memory; or on real ones, if the network depends on values.
    """

    def counted(mode: AbstractContextManager[Any]) -> int:
        with torch.no_grad(), mode, FlopCounterMode(display=False) as counter:
            image = torch.zeros(1, 3, *size)
            net(image, image if with_background else None)
        return int(counter.get_total_flops())

    was_training = net.training
    net.eval()
    try:
        return counted(FakeTensorMode(allow_non_fake_inputs=True))
    except RuntimeError:  # the network depends on values; or it has a defect, which training will raise
        return counted(nullcontext())
    finally:
        net.train(was_training)


def memory_mb(model: DepthMaskModel, size: tuple[int, int], batch_size: int) -> float:
    """MiB for training on a batch in float32: weights, gradients and the activations saved for backward.

    Counted on one sample, so that it is the same on every machine; memory of the optimizer, the kernels and the
    allocator is not included.
    """
    kept: dict[int, int] = {}
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)  # otherwise its memory, and so its address, could be reused
        return tensor

    alive: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        prediction = model.dry_run(size)
    del prediction
    weights = sum(parameter.numel() * (2 if parameter.requires_grad else 1) for parameter in model.parameters())
    return (FLOAT32_BYTES * weights + batch_size * sum(kept.values())) / 2**20


@torch.no_grad()
def latency_ms(
    model: DepthMaskModel, size: tuple[int, int], with_background: bool, device_config: DeviceConfig
) -> float:
    """Median latency in ms of predicting one picture on the device, with the settings of the training."""
    from torch.utils.benchmark import Timer  # slow import, which searches for compilers

    model = device_config.place(model)
    was_training = model.training
    model.eval()
    image = torch.zeros(1, 3, *size, device=device_config.device).contiguous(memory_format=device_config.memory_format)
    timer = Timer(
        "with autocast():\n    model(image, background)",
        globals={
            "autocast": device_config.autocast,
            "model": model,
            "image": image,
            "background": image if with_background else None,
        },
        num_threads=torch.get_num_threads(),
    )
    found = timer.blocked_autorange(min_run_time=LATENCY_SECONDS).median * 1000
    model.train(was_training)
    return float(found)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: a torch exception class on a GPU, only a message on a CPU."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error)


def free_memory() -> None:
    """Return unused cached memory to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
