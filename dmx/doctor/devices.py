"""Which devices and precisions work: a small network is trained in each and compared with float32, in a process."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from dmx.doctor.finding import Finding, ok, warning, wrong
from dmx.errors import last_line

SECTION = "devices"
ENDED = "its process ended here"
"""What a trial writes before it tries a precision."""
SECONDS = 120.0
"""Most that the trial of one device may take."""


def devices() -> Iterator[Finding]:
    """Each device of this machine."""
    for name in tried("list")[0].get("devices", ["cpu"]):
        found, failure = tried(name)
        advice = "take another device (`training.device`), or a torch that fits its driver"
        if failure and not found:
            yield wrong(SECTION, f"{name}: {failure}", advice)
        for precision, said in found.get("precisions", {}).items():
            said = failure if said == ENDED else said
            what = f"{name} ({found['name']}), {precision}: {said}"
            if said.startswith("works"):
                yield ok(SECTION, what)
            elif precision == "float32":
                yield wrong(SECTION, what, advice)
            else:
                yield warning(SECTION, what, "leave `training.precision` at auto, which does not take it")


def tried(device: str) -> tuple[dict[str, Any], str]:
    """What a process that tries a device says, and why it failed; empty if it did not."""
    command = [sys.executable, "-P", "-m", "dmx.doctor.trial", device]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        return last_told(error.stdout), f"gave no answer within {SECONDS:.0f} s"
    found = last_told(done.stdout)
    if done.returncode == 0:
        return found, ""
    return found, f"its process ended with {done.returncode} ({last_line(done.stderr)})"


def last_told(output: str | bytes | None) -> dict[str, Any]:
    """The last whole line that a trial wrote; bytes and None are from one that was stopped."""
    text = output.decode(errors="replace") if isinstance(output, bytes) else output or ""
    whole = text.rpartition("\n")[0].splitlines()
    found: dict[str, Any] = json.loads(whole[-1]) if whole else {}
    return found
