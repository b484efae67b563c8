"""How a run uses its device: precision, memory format and compilation, with `auto` resolved by what was measured."""

import shutil
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from dmx.errors import UserError

# A run must spend this many floating-point operations before compilation (40 to 60 s) pays: some 10 minutes at the
# speed that the baseline was seen to reach (two CPU cores: 0.1 TFLOP/s) or is assumed to (one data-centre GPU: 50).
COMPILE_FROM_FLOPS = {"cpu": 6e13, "cuda": 3e16}

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Execution:
    """What `auto` came to on this machine."""

    device: torch.device
    dtype: torch.dtype
    memory_format: torch.memory_format
    compile: bool
    refused: str = ""
    """The precision that `auto` would have taken, and the part of the network that comes out wrong in it."""

    def autocast(self) -> AbstractContextManager[None]:
        """The context of the forward pass."""
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32)

    def scaler(self) -> torch.amp.GradScaler:
        """The gradient scaler: at work for float16 only."""
        return torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)

    def facts(self) -> dict[str, str]:
        """The choices as plain texts for the record."""
        return {
            "device": str(self.device),
            "precision": str(self.dtype).removeprefix("torch."),
            "channels_last": str(self.memory_format == torch.channels_last).lower(),
            "compile": str(self.compile).lower(),
            **({"precision_refused": self.refused} if self.refused else {}),
        }


def choose(
    device: Literal["auto", "cpu", "cuda", "mps"],
    precision: Literal["auto", "float32", "bfloat16", "float16"],
    channels_last: Literal["auto"] | bool,
    compile: Literal["auto"] | bool,
    flops: float,
) -> Execution:
    """Resolve the settings of a run that will spend `flops` floating-point operations.

    `auto` precision is bfloat16 on CUDA cards that compute in it and float32 elsewhere: on a CPU without native
    support bfloat16 was measured 24 times slower. `auto` compiles where the run is long enough and a C++ compiler is
    at hand. The choice depends on the configuration and the machine alone, never on a clock, so that a resumed run
    makes the same one.

    Raises:
        UserError: The device is not there.
    """
    check_device(device)
    where = torch.device(_best_device() if device == "auto" else device)
    native = where.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    dtype = (torch.bfloat16 if native else torch.float32) if precision == "auto" else DTYPES[precision]
    last = where.type != "mps" if channels_last == "auto" else channels_last
    long_enough = flops > COMPILE_FROM_FLOPS.get(where.type, float("inf"))
    worth = long_enough and shutil.which("g++") is not None if compile == "auto" else compile
    return Execution(where, dtype, torch.channels_last if last else torch.contiguous_format, worth)


def check_device(device: Literal["auto", "cpu", "cuda", "mps"]) -> None:
    """Make sure that the device is there.

    Raises:
        UserError: It is not.
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

    Shapes alone are computed, which takes no memory; but all of it where values decide what a network does.
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
    except RuntimeError:  # of values; or a defect, which is told by its own name then
        return counted(nullcontext())
    finally:
        net.train(was_training)
