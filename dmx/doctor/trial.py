"""Try a device: `python -m dmx.doctor.trial DEVICE` writes a line of JSON after each precision; a crash tells where."""

import json
import sys
import time
from typing import Any

import torch

from dmx.doctor.devices import ENDED
from dmx.machine import processor
from dmx.models import DepthMaskModel, make_link
from dmx.models.depthmasknet import DepthMaskNet
from dmx.quartet import Batch, DepthSpec
from dmx.training.autotune import native_bfloat16
from dmx.training.device import resolve_device
from dmx.training.precision import wrong_part

SIZE = 64
STEPS = 3


def names() -> list[str]:
    """The devices of this machine."""
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return ["cpu", *cuda, *(["mps"] if torch.backends.mps.is_available() else [])]


def trial(device: str) -> None:
    """Run and train a small network in each precision."""
    kind = device.partition(":")[0]
    found: dict[str, Any] = {"name": processor() if kind == "cpu" else kind, "precisions": {}}
    if kind == "cuda":
        torch.cuda.set_device(device)  # `said` takes the current one
        found["name"] = torch.cuda.get_device_name(device)
    precisions = ("float32", "bfloat16") if kind == "cpu" else ("float32", "bfloat16", "float16")
    for precision in precisions:
        found["precisions"][precision] = ENDED
        tell(found)
        found["precisions"][precision] = said(kind, precision)
        tell(found)


def tell(found: dict[str, Any]) -> None:
    """Write a line of JSON."""
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


def said(kind: Any, precision: Any) -> str:
    """Whether a small network trains and predicts in a precision."""
    torch.manual_seed(0)
    config = resolve_device(kind, precision, False, compile=False, flops=0)
    net = DepthMaskNet(8, "image", "pixel_shuffle", skips=False)
    model = config.place(DepthMaskModel(net, make_link("exp", DepthSpec("metric", 0.5, 10.0), net)))
    picture = torch.rand(2, 3, SIZE, SIZE)
    plane = torch.ones(2, 1, SIZE, SIZE)
    batch = Batch(("a", "b"), picture, None, plane, plane > 0, plane, plane > 0).to(config.device)
    if (part := wrong_part(model, batch, config)) is not None:
        return f"gives something else than float32 in {part}"
    start = time.perf_counter()
    for _ in range(STEPS):
        with config.autocast():
            prediction = model(batch.image, None)
        loss = prediction.depth.mean() + prediction.mask_logits.square().mean()
        loss.backward()
    seconds = (time.perf_counter() - start) / STEPS
    if not bool(loss.isfinite()):
        return "gives numbers that are not finite"
    slow = precision == "bfloat16" and kind == "cpu" and not native_bfloat16()
    return f"works{', but this processor has to emulate it' if slow else ''} ({1000 * seconds:.0f} ms a step)"


if __name__ == "__main__":
    if sys.argv[1] == "list":
        tell({"devices": names()})
    else:
        trial(sys.argv[1])
