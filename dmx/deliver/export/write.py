"""Write a run's network as an ONNX file or a torch.export archive, and refuse what does not predict as the run does."""

import copy
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from dmx import __version__
from dmx.deliver.export.compare import TOLERANCE, compared
from dmx.deliver.export.graph import PhotographToMaps, example, free_sides
from dmx.deliver.export.samples import Samples
from dmx.deliver.exported import Facts
from dmx.deliver.origin import licence
from dmx.deliver.predictor import Predictor
from dmx.errors import UserError
from dmx.experiment.trained import Trained
from dmx.foreign.extra import extra
from dmx.models.joint import DepthMaskModel, margins
from dmx.stored import make_folder, read_mapping, replacing
from dmx.tracking.home import EVALUATION, EVALUATIONS, Home

Format = Literal["onnx", "pt2"]
Precision = Literal["float32", "float16", "int8"]
OPSET = 20
"""Version of ONNX's operators. ONNX Runtime 1.17, of January 2024, is the first that has all of 20."""
FACTS = "dmx.json"
"""Name of the facts in a torch.export archive."""


@dataclass(frozen=True)
class Form:
    """What is to be written.

    Attributes:
        format: ONNX, or an archive of torch.export.
        size: Height and width; None for those of the last training stage.
        dynamic: Whether any other height and width are taken, too.
        precision: Of weights and computation.
    """

    format: Format = "onnx"
    size: tuple[int, int] | None = None
    dynamic: bool = False
    precision: Precision = "float32"


def export(network: Trained, out: Path, form: Form, samples: Samples, threshold: float) -> Facts:
    """Write the network to `out`, all or nothing.

    Args:
        network: The run's network.
        out: The file to write; its folder is created.
        form: Format, size and precision.
        samples: Pictures to compare on, and to calibrate int8 with.
        threshold: The probability from which on a pixel is the object's.

    Raises:
        UserError: The form does not fit the network, a library is missing, or the file does not predict as the run.
        DataError: Training pictures are needed and not there.

    Returns:
        What the file says of itself.
    """
    model = on_cpu(network.model)
    size = form.size or network.size
    check(network, form, size, out)
    facts = facts_of(network, form, size, threshold, licence(samples.home, network))
    make_folder(out.parent)
    with replacing(out, out.with_name(f".{out.stem}.part{out.suffix}")) as part, quiet():
        program = traced(model, size, form.dynamic)
        match form.format:
            case "onnx":
                write_onnx(program, model, part)
                annotate(part, facts)
                measured = lower_precision(part, form.precision, facts, samples)
            case "pt2":
                torch.export.save(program, part, extra_files={FACTS: json.dumps(asdict(facts))})
                measured = {}
        sample = samples.few()
        expected = Predictor(model, size)(sample.images, sample.backgrounds)
        difference = compared(part, size, sample, expected)
        refuse(network.run, form.precision, difference)
        if form.dynamic:  # and at a size that the graph was not made at
            other = size[0] + model.net.multiple, size[1] + 2 * model.net.multiple
            expected = Predictor(model, other)(sample.images, sample.backgrounds)
            refuse(network.run, form.precision, compared(part, other, sample, expected))
        facts = replace(facts, difference=difference | measured)
        if form.format == "onnx":
            annotate(part, facts)
        else:
            torch.export.save(program, part, extra_files={FACTS: json.dumps(asdict(facts))})
    return facts


def on_cpu(model: DepthMaskModel) -> DepthMaskModel:
    """A copy in float32 on the CPU, in the memory format that exporters know."""
    return copy.deepcopy(model).to("cpu", torch.float32).to(memory_format=torch.contiguous_format).eval()


def check(network: Trained, form: Form, size: tuple[int, int], out: Path) -> None:
    """Check that the form fits the network.

    Raises:
        UserError: It does not.
    """
    net, reason = network.model.net, network.config.model.component.facts.get("fixed_size")
    if form.dynamic and reason:
        raise UserError(f"{network.run} is exported at a fixed size only: {reason}; leave out --size dynamic.")
    if form.dynamic and any(before or after for before, after in (margins(side, net) for side in size)):
        raise UserError(
            f"{network.run} takes sides that are multiples of {net.multiple} and at least {net.least} where they are "
            f"free, and {size[0]}x{size[1]} is not; export it at a fixed --size, which is padded."
        )
    if form.format == "pt2" and form.precision != "float32":
        raise UserError(f"--precision {form.precision} is for ONNX; a torch.export archive is float32.")
    if out.exists():
        raise UserError(f"{out}: is there already; remove it, or name another file.")


def facts_of(network: Trained, form: Form, size: tuple[int, int], threshold: float, origin: str) -> Facts:
    """What the file is to say of itself."""
    model, net, spec = network.model, network.model.net, network.spec
    mean, deviation = (tuple(float(x) for x in one.flatten().tolist()) for one in (model.mean, model.std))
    return Facts(
        run=network.run,
        version=__version__,
        size=size,
        dynamic=form.dynamic,
        multiple=net.multiple,
        least=net.least,
        inputs=("image", "background") if net.needs_background else ("image",),
        depth=asdict(spec),
        unit="m" if spec.kind == "metric" else "",
        mask_threshold=threshold,
        mean=(mean[0], mean[1], mean[2]),
        deviation=(deviation[0], deviation[1], deviation[2]),
        precision=form.precision,
        opset=OPSET if form.format == "onnx" else 0,
        licence=origin,
        calibration=network.calibration,
    )


def traced(model: DepthMaskModel, size: tuple[int, int], dynamic: bool) -> torch.export.ExportedProgram:
    """The graph of the network.

    Raises:
        UserError: torch.export cannot make it.
    """
    pictures, sides = example(model, size), free_sides(model, dynamic=dynamic)
    graph = PhotographToMaps(model, dynamic=dynamic).eval()
    try:
        with torch.no_grad():
            return torch.export.export(graph, pictures, dynamic_shapes=sides, strict=False)
    except Exception as error:  # torch.export's errors share no public class
        cause = str(error).partition("\n")[0]
        advice = "leave out --size dynamic" if dynamic else "its code depends on values, which a graph cannot hold"
        raise UserError(f"{type(model.net).__name__} cannot be exported ({cause}); {advice}.") from error


def write_onnx(program: torch.export.ExportedProgram, model: DepthMaskModel, path: Path) -> None:
    """Write the graph as ONNX in float32."""
    extra("onnxscript")
    inputs = ["image", "background"] if model.net.needs_background else ["image"]
    names: dict[str, Any] = {"input_names": inputs, "output_names": ["depth", "mask"]}
    written = torch.onnx.export(program, dynamo=True, opset_version=OPSET, verbose=False, **names)
    assert written is not None
    written.save(path, external_data=False)


def lower_precision(path: Path, precision: Precision, facts: Facts, samples: Samples) -> dict[str, Any]:
    """Replace a float32 ONNX file by one of a lower precision.

    Returns:
        For int8 the metrics on validation of both, `float32` and `int8`.
    """
    onnx = extra("onnx")
    match precision:
        case "float16":
            convert = extra("onnxruntime.transformers.float16").convert_float_to_float16
            onnx.save(convert(onnx.load(str(path)), keep_io_types=True), str(path))
        case "int8":
            from dmx.deliver.export.int8 import quantise

            before = samples.metrics(path, facts.size)
            quantise(path, path, samples.calibration(facts.size))
            annotate(path, facts)
            return {"float32": before, "int8": samples.metrics(path, facts.size)}
    return {}


def annotate(path: Path, facts: Facts) -> None:
    """Put the facts into an ONNX file's metadata, with what `dmx evaluate` asks of any file."""
    onnx = extra("onnx")
    model = onnx.load(str(path))
    predicts = "metric" if facts.unit else "disparity" if facts.depth["near"] == "high" else "depth"
    onnx.helper.set_model_props(model, {"predicts": predicts, **facts.metadata()})
    onnx.save(model, str(path))


def refuse(run: str, precision: Precision, difference: dict[str, Any]) -> None:
    """Refuse a file whose predictions are not the run's.

    Raises:
        UserError: They differ by more than the tolerance.
    """
    greatest = max(difference[name]["greatest"] for name in ("depth", "mask"))
    if precision in TOLERANCE and not greatest <= TOLERANCE[precision]:
        raise UserError(
            f"the exported {run} differs from the run by {greatest:.2g} of max(1, value) on {difference['what']}, and "
            f"{TOLERANCE[precision]:g} is the most in {precision}; nothing was exported. Take --precision float32, or "
            "another size."
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporters' warnings, which are no advice to a user, from the terminal."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def mask_threshold(home: Home, run: str) -> float:
    """The best threshold on the run's validation samples if `dmx evaluate` has found it, else 0.5."""
    for path in sorted((home.run(run) / EVALUATIONS).glob(f"*/{EVALUATION}")):
        found = read_mapping(path, "remove it, and evaluate the run again.")
        best = found.get("threshold", {}).get("best_on_validation")
        if best is not None and not found.get("joined"):  # not that of an ensemble
            return float(best)
    return 0.5
