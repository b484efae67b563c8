"""Pack a data set. Every file of a pack is a function of the data set alone, so an interrupted packing can resume.

Until the pack is complete, the folder `.notes` in it holds the SHA-256 of each finished file, and files in progress.
"""

import hashlib
import os
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa

from dmx.data.chunks import in_order
from dmx.data.declaration import FILE as DECLARATION
from dmx.data.declaration import MaskDeclaration
from dmx.data.layout import DatasetIndex
from dmx.data.pack.form import FILE, UNKNOWN, VERSION, Cell, Encoding, PackInfo, Shard, read_info, schema_of
from dmx.data.planes import resize_known, resize_picture, resize_plane
from dmx.data.reading import check_depth, decoded, read_raw, to_depth, to_mask
from dmx.data.samples import Record
from dmx.data.writing import Progress, Summary, resumable, settle
from dmx.machine import cores, flush

SHARD_BYTES = 128 * 2**20
"""Raw bytes of pictures per file: what a process holds in memory, and at most repeats after an interruption."""
SAMPLES_AT_MOST = 4096
NOTES = ".notes"
PNG_LEVEL = [cv2.IMWRITE_PNG_COMPRESSION, 1]


def pack(
    index: DatasetIndex,
    out: Path,
    *,
    size: tuple[int, int],
    encoding: Encoding = "raw",
    workers: int | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Write the samples of a data set, decoded and resized, into the new folder `out`.

    Samples read from the pack equal those read from the folder at that size, bit for bit. The same data set gives the
    same bytes, whatever the number of workers and of interruptions.

    Args:
        index: The data set.
        out: The folder to create.
        size: (height, width) of all pictures.
        encoding: `raw` reads fastest; `png` takes about a third of the space.
        workers: Number of processes; None takes one per core.
        progress: Called with (samples packed, samples in total).

    Raises:
        DataError: A sample cannot be read, `out` exists already, or the data set is a pack itself.
    """
    index.refuse_pack("pack")
    source = index.fingerprint()
    info = read_info(out)
    if info is not None and (info.source, info.size, info.encoding) == (source, size, encoding):
        return Summary(out, len(index.samples), len(index.samples.distinct("group")), existed=True)
    with resumable(out, _plan(index, source, size, encoding)) as stage:
        if not (stage / FILE).exists():
            jobs = _jobs(index, size, encoding)
            processes = min(len(jobs), cores()) if workers is None else workers
            shards = _shards(stage, index, jobs, processes, progress)
            _finish(stage, index, PackInfo(size, encoding, source, shards["samples"], shards["backgrounds"]))
        shutil.rmtree(stage / NOTES, ignore_errors=True)
    return Summary(out, len(index.samples), len(index.samples.distinct("group")))


def _plan(index: DatasetIndex, source: str, size: tuple[int, int], encoding: Encoding) -> str:
    """Describe everything that determines the bytes; without the folder, as one folder can have many paths."""
    return (
        f"dmx data pack --size {size[0]}x{size[1]} --encoding {encoding}, data {source[:16]}, files as of "
        f"{index.stamp[:16]}, version {VERSION}"
    )


def _shards(
    stage: Path, index: DatasetIndex, jobs: "list[Job]", workers: int, progress: Progress | None
) -> dict[str, tuple[Shard, ...]]:
    """Write all files, in order."""
    (stage / NOTES).mkdir(exist_ok=True)
    for left in (stage / NOTES).glob("*.tmp"):  # left by a killed process
        left.unlink()
    found: dict[str, list[Shard]] = {"samples": [], "backgrounds": []}
    done = 0
    for job, shard in zip(jobs, in_order(partial(_write, stage), index, jobs, workers), strict=True):
        found[job.kind].append(shard)
        done += shard.rows if job.kind == "samples" else 0
        if progress is not None:
            progress(done, len(index.samples))
    return {kind: tuple(shards) for kind, shards in found.items()}


def _finish(stage: Path, index: DatasetIndex, info: PackInfo) -> None:
    """Write the declaration and, last, `pack.json`, whose presence marks the pack as complete."""
    mask = MaskDeclaration(unknown=None if index.declaration.mask.unknown is None else UNKNOWN)
    index.declaration.model_copy(update={"pictures": None, "mask": mask, "exif": None}).write(stage)
    flush(stage / DECLARATION)
    info.write(stage / NOTES)
    settle(stage / NOTES / FILE, stage / FILE)


@dataclass(frozen=True)
class Job:
    """One file to write: the samples, or the backgrounds, from `start` to before `stop`."""

    kind: str
    number: int
    start: int
    stop: int
    size: tuple[int, int]
    encoding: Encoding

    @property
    def file(self) -> str:
        """Its name."""
        return f"{self.kind}-{self.number:05d}.arrow"


def _jobs(index: DatasetIndex, size: tuple[int, int], encoding: Encoding) -> list[Job]:
    pixels = size[0] * size[1]
    counts = {"samples": (len(index.samples), 8), "backgrounds": (len(index.samples.distinct("background")), 3)}
    jobs = []
    for kind, (count, pixel_bytes) in counts.items():
        step = max(1, min(SAMPLES_AT_MOST, SHARD_BYTES // (pixels * pixel_bytes)))
        for number, start in enumerate(range(0, count, step)):
            jobs.append(Job(kind, number, start, min(start + step, count), size, encoding))
    return jobs


def _write(stage: Path, index: DatasetIndex, job: Job) -> Shard:
    """Write one file, unless it exists and matches its noted SHA-256."""
    path, note = stage / job.file, stage / NOTES / f"{job.file}.sha256"
    sha256 = _sha256(path) if path.exists() and note.exists() else None
    if sha256 is None or sha256 != note.read_text(encoding="ascii"):
        table = _samples(index, job) if job.kind == "samples" else _backgrounds(index, job)
        scratch = stage / NOTES / f"{job.file}.{os.getpid()}.tmp"  # no other process writes there
        with pa.OSFile(os.fsencode(scratch), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table.combine_chunks())
        sha256 = _sha256(scratch)
        settle(scratch, path)
        scratch.write_text(sha256, encoding="ascii")
        settle(scratch, note)
    return Shard(job.file, job.stop - job.start, path.stat().st_size, sha256)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _backgrounds(index: DatasetIndex, job: Job) -> pa.Table:
    names = index.samples.distinct("background")[job.start : job.stop]
    found = (decoded(index.pictures / name, "background", index.declaration).pixels for name in names)
    pictures = [resize_picture(one, job.size) for one in found]
    cell = Cell(job.encoding, "uint8", (*job.size, 3))
    schema = schema_of({"name": pa.string()}, {"image": cell})
    return pa.table([pa.array(names), _cells(pictures, cell)], schema=schema)


def _samples(index: DatasetIndex, job: Job) -> pa.Table:
    records = index.samples[job.start : job.stop]
    rows = {name: row for row, name in enumerate(index.samples.distinct("background"))}
    columns = {
        "id": pa.array([record.id for record in records], pa.string()),
        "group": pa.array([record.group for record in records], pa.string()),
        "split": pa.array([record.split for record in records], pa.string()),
        "background": pa.array([None if r.background is None else rows[r.background] for r in records], pa.int32()),
    }
    raw: dict[str, list[np.ndarray]] = {"image": [], "mask": []}
    if index.declaration.depth is not None:
        raw["depth"] = []
    for record in records:
        for role, picture in _roles(index, record, job.size).items():
            raw[role].append(picture)
    cells = {}
    for role, pictures in raw.items():
        dtype = np.result_type(*pictures)
        encoding = job.encoding if dtype.kind == "u" and dtype.itemsize <= 2 else "raw"  # PNG is limited to these
        cells[role] = Cell(encoding, str(dtype), pictures[0].shape)
        columns[role] = _cells([picture.astype(dtype, copy=False) for picture in pictures], cells[role])
    schema = schema_of({name: column.type for name, column in columns.items() if name not in cells}, cells)
    return pa.table(list(columns.values()), schema=schema)


def _roles(index: DatasetIndex, record: Record, size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Read the pictures of a sample at `size`, with the checks of `read_quartet`; depth keeps its raw values."""
    declared, raw = index.declaration, read_raw(index, record)
    mask, known = to_mask(raw["mask"], declared.mask, index.pictures / record.mask)
    mask = np.where(known, mask, UNKNOWN).astype(np.uint8)
    pictures = {"image": resize_picture(raw["image"], size), "mask": resize_plane(mask, size)}
    if record.depth is not None and declared.depth is not None:
        depth, valid = to_depth(raw["depth"], declared.depth)
        check_depth(depth, valid, declared.depth, index.pictures / record.depth)
        pictures["depth"] = resize_known(raw["depth"], valid, size)[0]
    return pictures


def _cells(pictures: list[np.ndarray], cell: Cell) -> pa.Array:
    if cell.encoding == "raw":
        return pa.array([np.ascontiguousarray(picture).tobytes() for picture in pictures], pa.binary())
    found = []
    for picture in pictures:
        bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) if picture.ndim == 3 else picture
        found.append(cv2.imencode(".png", bgr, PNG_LEVEL)[1].tobytes())
    return pa.array(found, pa.binary())
