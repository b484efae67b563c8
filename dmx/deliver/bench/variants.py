"""What is measured: a run's network in each form, and exported files."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from dmx.deliver.export.int8 import quantise
from dmx.deliver.export.samples import Samples, random_pictures
from dmx.deliver.export.write import Form as FileForm
from dmx.deliver.export.write import annotate, export, quiet
from dmx.deliver.exported import ExportedNetwork
from dmx.errors import UserError
from dmx.experiment.trained import Trained
from dmx.tracking.home import Home

Form = Literal["pytorch", "compiled", "pt2", "onnx", "int8"]
FORMS: tuple[Form, ...] = get_args(Form)
Size = tuple[int, int]
RANGES = 8
"""Pictures from which int8 takes the ranges of activations; random ones, as its speed does not depend on them."""


@dataclass(frozen=True)
class Variant:
    """A network in one form, at one size.

    Attributes:
        network: The run or file, as it was named.
        form: What runs it: `pytorch`, `compiled`, an archive of torch.export (`pt2`), or ONNX Runtime in float32
            (`onnx`), `float16` or `int8`.
        size: Height and width.
        source: What `worker.main` loads.
        failure: Why it cannot be measured; empty if it can.
    """

    network: str
    form: str
    size: Size
    source: Mapping[str, Any] = field(compare=False)
    failure: str = ""

    @property
    def title(self) -> str:
        """Network, form and size."""
        return f"{self.network}, {self.form}, {written(self.size)}"


def of_file(name: str, sizes: Sequence[Size]) -> list[Variant]:
    """An exported file at these sizes, or at its own if there are none.

    Raises:
        UserError: It is not there, or does not take such a size.
        DataError: It is not of `dmx export`.
    """
    facts = ExportedNetwork(Path(name)).facts
    for size in sizes:
        if not facts.dynamic and size != facts.size:
            raise UserError(
                f"{name}: takes pictures of {written(facts.size)} only, not of {written(size)}; leave out --size, or "
                "export the run with --size dynamic."
            )
        if facts.dynamic and any(side % facts.multiple or side < facts.least for side in size):
            raise UserError(
                f"{name}: takes sides that are multiples of {facts.multiple} and at least {facts.least}, not "
                f"{written(size)}; give another --size."
            )
    form = "onnx" if facts.precision == "float32" else facts.precision
    return [Variant(name, form, size, {"file": name, "size": size}) for size in sizes or [facts.size]]


def of_run(home: Home, network: Trained, size: Size, forms: Sequence[Form], folder: Path) -> list[Variant]:
    """A run's network in these forms.

    Args:
        home: The folder of results.
        network: The run's network.
        size: Height and width.
        forms: The forms.
        folder: A folder to be made for the exported files.
    """
    found = [
        Variant(network.run, form, size, {"form": form, "home": str(home.root), "run": network.run, "size": size})
        for form in ("pytorch", "compiled")
        if form in forms
    ]
    if shutil.which("g++") is None:
        missing = "no C++ compiler (g++) is installed"
        found = [replace(one, failure=missing) if one.form == "compiled" else one for one in found]
    samples = Samples(network, home, lambda done, total: None)
    if "pt2" in forms:
        found.append(of_archive(network, size, samples, folder / "network.pt2"))
    wanted = [form for form in ("onnx", "int8") if form in forms]
    if not wanted:
        return found
    files = {"onnx": folder / "float32.onnx", "int8": folder / "int8.onnx"}
    try:
        write_files(network, size, wanted, files, samples)
        failure = ""
    except UserError as error:
        failure = str(error)
    return found + [
        Variant(network.run, form, size, {"file": str(files[form]), "size": size}, failure) for form in wanted
    ]


def of_archive(network: Trained, size: Size, samples: Samples, path: Path) -> Variant:
    """A run's network as an archive of torch.export, written to `path`.

    Files of this kind are not measured as others are: to load one can run the code of who made it.
    """
    source = {"archive": str(path), "needs_background": network.model.net.needs_background, "size": size}
    try:
        export(network, path, FileForm("pt2", size), samples, 0.5)
        failure = ""
    except UserError as error:
        failure = str(error)
    return Variant(network.run, "pt2", size, source, failure)


def write_files(
    network: Trained, size: Size, wanted: Sequence[str], files: Mapping[str, Path], samples: Samples
) -> None:
    """Export the network in float32, and make int8 of it if it is wanted.

    Raises:
        UserError: The network cannot be exported, or a library is missing.
    """
    facts = export(network, files["onnx"], FileForm("onnx", size), samples, 0.5)
    if "int8" not in wanted:
        return
    given = {name: random_pictures(RANGES, size) for name in facts.inputs}
    with quiet():
        quantise(files["onnx"], files["int8"], iter([given]))
    annotate(files["int8"], replace(facts, precision="int8"))


def written(size: Size) -> str:
    """Height and width as in `--size`.

    >>> written((240, 320))
    '240x320'
    """
    return f"{size[0]}x{size[1]}"
