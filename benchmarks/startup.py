"""How long `dmx --help` takes: the median of 20 calls. Goal: 150 ms.

    python benchmarks/startup.py [--calls 20]

Beside it stands what an interpreter of this environment takes that does nothing.
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path


def milliseconds(command: list[str], calls: int) -> list[float]:
    """Wall time of each call, after one that is not counted."""
    times = []
    for _ in range(calls + 1):
        begun = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append((time.perf_counter() - begun) * 1000)
    return times[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=20)
    calls = parser.parse_args().calls
    dmx = Path(sys.executable).parent / "dmx"
    commands = {"dmx --help": [str(dmx), "--help"], "python -c pass": [sys.executable, "-c", "pass"]}
    for name, command in commands.items():
        times = milliseconds(command, calls)
        print(f"{name}: median {statistics.median(times):.0f} ms ({min(times):.0f} .. {max(times):.0f})")


if __name__ == "__main__":
    main()
