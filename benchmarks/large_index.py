"""Opening a data set of 400,000 quartets and shuffling an epoch of it: seconds and memory.

    python benchmarks/large_index.py [--samples 400000] [--json]

The list has as many rows as the full data sets of this problem (100 backgrounds x 100 cut-outs x 20 places x 2 flips)
over a few files, for opening reads no picture. Each opening is a process of its own: reading the list, looking that the
files are there, fingerprint, split and the data sets of training and validation. Memory is what the process takes at
most beyond what the imported libraries take. Goals: 2 s, 300 MB, and 0.2 s to shuffle an epoch.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 3
BATCH = 64


def write_list(folder: Path, samples: int) -> None:
    """One small quartet, and a list that names it as often as asked for."""
    from dmx.data.layout import read
    from dmx.data.samples import Record
    from dmx.data.writing import write_samples
    from dmx.datatools.synth import synth

    synth(folder, count=1, size=32, seed=0, workers=1)
    paths = read(folder).samples[0].paths()
    per_group = max(1, samples // 100)
    records = (
        Record(f"bg{n // per_group:03d}_{n:06d}", f"bg{n // per_group:03d}", None, **paths) for n in range(samples)
    )
    write_samples(folder, records)


def open_it(folder: Path) -> dict[str, float]:
    """Open the data set in this process."""
    from dmx.data.dataset import QuartetDataset
    from dmx.data.layout import read
    from dmx.data.loader import Sampling
    from dmx.data.split import split

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.perf_counter()
    index = read(folder)
    index.fingerprint()
    parts = split(index, val=0.15, test=0.15, seed=0, by="group")
    datasets = [QuartetDataset(index, ids, (64, 64), memory=False) for ids in (parts.train, parts.val)]
    opened = time.perf_counter()
    batches = Sampling(BATCH, seed=0, epoch=0, shuffle=True).batches(len(datasets[0]))
    shuffled = time.perf_counter()
    assert sum(map(len, batches)) == len(parts.train)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "opening_s": opened - begun,
        "shuffle_s": shuffled - opened,
        "memory_mb": (after - before) / 1000,
        "process_mb": after / 1000,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=400_000)
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument("--open", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.open is not None:
        print(json.dumps(open_it(options.open)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "data"
        write_list(folder, options.samples)
        command = [sys.executable, __file__, "--open", str(folder)]
        rounds = [json.loads(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(ROUNDS)]
    found = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    if options.json:
        print(json.dumps({"samples": options.samples, **found}, indent=1))
        return
    print(f"{options.samples:,} quartets, medians of {ROUNDS} processes")
    print(f"opening {found['opening_s']:.2f} s, shuffling an epoch {found['shuffle_s']:.3f} s")
    print(f"memory {found['memory_mb']:.0f} MB beyond the libraries, {found['process_mb']:.0f} MB the whole process")


if __name__ == "__main__":
    main()
