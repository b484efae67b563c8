"""Check a bundle before it is given away: it is as it was written, and nothing in it can run code when it is loaded."""

import hashlib
import json
import math
import pickletools
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from dmx.deliver.bundle.names import CARD, EXPERIMENT, FACTS, LICENCE, NETWORK, SUMS, WEIGHTS
from dmx.deliver.exported import Facts
from dmx.errors import DataError, UserError
from dmx.foreign.extra import extra

LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
"""A line of SHA256SUMS."""
FINDS, NAMES = ("STACK_GLOBAL", "EXT1", "EXT2", "EXT4"), ("GLOBAL", "INST")
"""Instructions of a pickle that find something by its name, which those in `NAMES` have in them."""
NAME = re.compile(r"[^\W\d][\w.]* [^\W\d][\w.]*")
"""A module's and a thing's name; a sentence that begins with c or i is none."""
CALLS = {"INST": 1, "OBJ": 2, "REDUCE": 2, "NEWOBJ": 2, "NEWOBJ_EX": 2, "BUILD": 2}
"""Instructions that call what was found, with the number of others without which they fail."""
PICKLE = "it may be a pickle, which can run code when it is loaded"


def checked(folder: Path) -> dict[str, Path]:
    """The files of a bundle by name, once it is seen to be whole and harmless.

    Raises:
        UserError: There is no such folder.
        DataError: Files are missing, are of other kinds than a bundle has, differ from their checksums, or are not what
            their names say.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: is no folder; `dmx export RUN {folder} --bundle` makes a bundle.")
    files = {path.name: path for path in sorted(folder.iterdir())}
    check_kinds(folder, files)
    check_sums(folder, files)
    for name, path in files.items():
        if name != SUMS:
            try:
                KINDS[name](path)
            except DataError:
                raise
            except Exception as error:  # readers may raise anything for damaged files
                cause = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                raise DataError(
                    f"{path}: is not what its name says ({cause}); {PICKLE}. Export the run again."
                ) from error
    return files


def check_kinds(folder: Path, files: Mapping[str, Path]) -> None:
    """Check that nothing else is in the folder, and nothing is missing.

    Raises:
        DataError: Something is.
    """
    for name, path in files.items():
        if name not in (*KINDS, SUMS) or path.is_symlink() or not path.is_file():
            known = ", ".join((*KINDS, SUMS))
            raise DataError(
                f"{path}: a bundle has no such file, and what is unknown is not passed on: {PICKLE}. Remove it; what "
                f"belongs there are the files {known}."
            )
    if missing := [name for name in (*KINDS, SUMS) if name not in files and name != LICENCE]:
        raise DataError(f"{folder}: lacks {', '.join(missing)}; `dmx export RUN OUT --bundle` makes a whole bundle.")


def check_sums(folder: Path, files: Mapping[str, Path]) -> None:
    """Check that all files are as their checksums say.

    Raises:
        DataError: One is not, or is not among them.
    """
    advice = (
        "Export the run again, or, if you have changed it yourself, write the checksums anew: "
        f"`cd {folder} && sha256sum {' '.join(name for name in files if name != SUMS)} > {SUMS}`."
    )
    found = [LINE.fullmatch(line) for line in files[SUMS].read_text(encoding="utf-8", errors="replace").splitlines()]
    known = {one[2]: one[1] for one in found if one is not None}
    for name, path in files.items():
        if name == SUMS:
            continue
        if name not in known:
            raise DataError(f"{path}: is not in {SUMS}. {advice}")
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != known.pop(name):
                raise DataError(f"{path}: differs from its checksum in {SUMS}. {advice}")
    if known or None in found:
        gone = f"it names {', '.join(known)}, which is not there" if known else "it has lines that are no checksums"
        raise DataError(f"{files[SUMS]}: {gone}. {advice}")


def check_network(path: Path) -> None:
    """Check that a file is ONNX of `dmx export`, and whole: tensors in other files are named by their paths.

    Raises:
        DataError: It is not.
    """
    onnx = extra("onnx")
    model = onnx.load(str(path), load_external_data=False)
    Facts.read({entry.key: entry.value for entry in model.metadata_props}, path)
    if any(tensor.external_data or tensor.data_location == tensor.EXTERNAL for tensor in tensors(onnx, model)):
        raise DataError(f"{path}: has tensors in other files; export the run again.")


def tensors(onnx: Any, message: Any) -> Iterator[Any]:
    """All tensors in a part of an ONNX file: of graphs, of attributes, of graphs in attributes, of functions."""
    for field, value in message.ListFields():
        if field.message_type is not None:
            for one in [value] if hasattr(value, "ListFields") else value:
                if isinstance(one, onnx.TensorProto):
                    yield one
                yield from tensors(onnx, one)


def check_weights(path: Path) -> None:
    """Check that a file is safetensors."""
    from safetensors import safe_open

    with safe_open(path, "np") as file:
        list(file.keys())


def check_json(path: Path) -> None:
    """Check that a file is JSON."""
    json.loads(path.read_bytes())


def check_yaml(path: Path) -> None:
    """Check that a file is YAML, of plain values alone."""
    yaml.safe_load(path.read_bytes())


def check_text(path: Path) -> None:
    """Check that a file is text, and none that is a pickle as well, as those of protocol 0 are.

    Raises:
        ValueError: It is not.
    """
    data = path.read_bytes()
    if "\0" in data.decode():
        raise ValueError("has zero bytes")
    if calls(data):
        raise ValueError("has a call of a function, once it is read as a pickle")


def calls(data: bytes) -> bool:
    """Whether data, read as a pickle, finds something by its name and calls it.

    A pickle need not be whole for that, and some licences are whole pickles of a text: `C` begins 256 bytes at most.
    """
    found = False
    with suppress(ValueError):  # where it is no pickle any more
        for before, (code, argument, _) in enumerate(pickletools.genops(data)):
            found = found or code.name in FINDS or (code.name in NAMES and NAME.fullmatch(str(argument)) is not None)
            if found and before >= CALLS.get(code.name, math.inf):
                return True
    return False


KINDS: Mapping[str, Callable[[Path], None]] = {
    CARD: check_text,
    NETWORK: check_network,
    WEIGHTS: check_weights,
    FACTS: check_json,
    EXPERIMENT: check_yaml,
    LICENCE: check_text,
}
"""What a bundle may have beside its checksums, and how it is seen that a file is what its name says."""
