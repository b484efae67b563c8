"""The model card: a README.md in the form of Hugging Face's hub, filled from the record of the run."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import yaml

from dmx.deliver.bundle.names import EXPERIMENT, FACTS, LICENCE, NETWORK, SUMS, WEIGHTS
from dmx.deliver.bundle.story import Measured, Story
from dmx.deliver.exported import Facts
from dmx.deliver.origin import RANDOM
from dmx.results.references import PREFIX
from dmx.sample_table import FORMS

SETTLED = "as-the-training-data"
"""The licence's name in the front matter; the section on it says what is known."""
RUNS = """\
import numpy as np, onnxruntime
from PIL import Image, ImageOps
opened = {{name: ImageOps.exif_transpose(Image.open(f"{{name}}.jpg")).convert("RGB") for name in {inputs}}}
pictures = {{name: np.asarray(one.resize({sides}, Image.Resampling.BOX))[None] for name, one in opened.items()}}
maps = [Image.fromarray(one[0]) for one in onnxruntime.InferenceSession("{network}").run(["depth", "mask"], pictures)]
depth, mask = (np.asarray(one.resize(opened["image"].size, Image.Resampling.BILINEAR)) for one in maps)
"""


def card(story: Story, facts: Facts) -> str:
    """The whole card."""
    front = yaml.safe_dump(front_matter(story, facts), sort_keys=False, allow_unicode=True, width=120)
    sections = {
        "How to run it": usage(story, facts),
        "Files": files(story),
        "Training": training(story),
        "Metrics": metrics(story, facts),
        "The exported file against the run": against_the_run(facts),
        "Limits": limits(story, facts),
        "Licence": licence(story),
    }
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    return f"---\n{front}---\n\n# {story.run}\n\n{summary(story, facts)}\n\n{body}\n"


def front_matter(story: Story, facts: Facts) -> dict[str, Any]:
    """What the hub reads of a card."""
    return {
        "license": "other",
        "license_name": SETTLED,
        "library_name": "onnx",
        "pipeline_tag": "depth-estimation",
        "tags": ["depth-estimation", "image-segmentation", "dmx"],
        "model-index": [{"name": story.run, "results": [result(story, one) for one in of_file(story, facts)]}],
    }


def of_file(story: Story, facts: Facts) -> tuple[Measured, ...]:
    """The metrics of the exported file: those of the run at its size, or in int8 what was measured of the file.

    At another size it has none: the run was not measured there.
    """
    if facts.size != story.config.stages[-1].height_width:
        return ()
    of_int8 = facts.difference.get("int8")
    if of_int8 is None:
        return story.measured
    return tuple(
        replace(one, values={name: value for name, value in of_int8.items() if name in one.values})
        for one in story.measured
        if one.part == "validation"
    )


def result(story: Story, measured: Measured) -> dict[str, Any]:
    """The metrics on one part, as the hub's model index has them."""
    return {
        "task": {"type": "depth-estimation", "name": "depth and mask"},
        "dataset": {"name": story.data, "type": story.data, "split": measured.part},
        "metrics": [
            {"type": plain(name), "name": name, "value": float(f"{value:.6g}")}
            for name, value in measured.values.items()
        ],
    }


def plain(metric: str) -> str:
    """A metric's name without task and form.

    >>> plain("depth/rmse_pooled")
    'rmse'
    """
    return metric.partition("/")[2].removesuffix(FORMS[0]).removesuffix(FORMS[1])


def summary(story: Story, facts: Facts) -> str:
    """What the network is, in a few lines."""
    spec = facts.depth
    depth = "depth in metres" if facts.unit else f"relative depth in [0, 1] ({spec['near']} values are near)"
    behind = ", and one of the same scene without the object," if "background" in facts.inputs else ""
    return (
        f"From one photograph{behind} this network predicts {depth} and the mask of the object of interest. It is "
        f"`{story.config.model.component.name}` with {story.facts['parameters']:,} parameters, trained with `dmx` "
        f"{story.environment.get('packages', {}).get('dmx', facts.version)} on `{story.data}` and exported in "
        f"{facts.precision} as ONNX, opset {facts.opset}."
    )


def usage(story: Story, facts: Facts) -> str:
    """How to run it: six lines, and what goes in and comes out."""
    code = RUNS.format(network=NETWORK, sides=facts.size[::-1], inputs=json.dumps(facts.inputs))
    free = f"multiples of {facts.multiple}, at least {facts.least}; best near" if facts.dynamic else "fixed to"
    unit = "in metres" if facts.unit else "relative, in [0, 1]"
    beside = " and ".join(f"`{one}.jpg`" for one in facts.inputs)
    return (
        f"With the packages `onnxruntime`, `numpy` and `pillow`, and {beside} beside the files:\n\n"
        f"```python\n{code}```\n\n"
        f"Pictures are uint8 RGB, (batch, height, width, 3), upright; height and width are {free} "
        f"{facts.size[0]} and {facts.size[1]}. Colours are normalised inside. `depth` is {unit}, `mask` the "
        "probability of the object, both float32, (batch, height, width); the last line brings them to the size of the "
        f"photograph. A pixel is the object's from a probability of {facts.mask_threshold:.3g} on.\n\n"
        f"`start: {WEIGHTS}` in an experiment of `dmx` with the same `model` trains it further."
    )


def files(story: Story) -> str:
    """What is in the folder."""
    known = {
        NETWORK: "the network, with the colours' normalisation, the link from raw numbers to depth, and the sigmoid",
        FACTS: "what a program that runs it has to know: inputs, size, unit and range of depth, the mask's threshold",
        WEIGHTS: "the weights alone; no pickle",
        EXPERIMENT: "the configuration that it was trained with; `dmx train` trains it again where the data is",
        SUMS: f"checksums; `sha256sum -c {SUMS}` checks them",
    }
    return table(("file", "what it is"), [(f"`{name}`", what) for name, what in known.items()])


def training(story: Story) -> str:
    """Data, split and how it was trained."""
    config, facts = story.config, story.facts
    counts = ", ".join(f"{count:,} for {part}" for part, count in story.counts.items() if count)
    apart = "by group: pictures of one scene are in one part" if config.data.split.by == "group" else "by sample"
    source = story.declared.source if story.declared is not None else None
    commit = f"; commit of the code: `{story.commit}`" if story.commit else ""
    lines = [
        f"Data: `{story.data}`{f' ({source})' if source else ''}.",
        f"Samples: {counts}; split {apart}.",
        f"Began with {story.began}.",
        f"Stages (epochs x size @ batch): {facts['params']['stages']}; seed {config.seed}. The weights are of epoch "
        f"{story.best.epoch} of {story.result.epochs}, the best by `{facts['objective']['metric']}`.",
        f"{environment(story)}.",
        f"Fingerprints: configuration `{facts['fingerprint']}`, data `{facts['data'][:16]}`, split "
        f"`{facts['split'][:16]}`{commit}.",
    ]
    return "\n".join(f"- {line}" for line in lines)


def environment(story: Story) -> str:
    """What it was trained with and on."""
    execution, packages = (story.environment.get(name) or {} for name in ("execution", "packages"))
    if not execution:
        return "Machine and versions are not recorded"
    on = ", ".join(story.environment.get("gpus") or []) if execution.get("device") != "cpu" else "a CPU"
    minutes = story.result.seconds / 60
    took = f"{minutes:.0f} minutes" if minutes >= 2 else "some seconds" if minutes < 0.5 else "a minute"
    return (
        f"Trained for {took} on {on or execution.get('device')} in "
        f"{execution.get('precision')}, with torch {packages.get('torch', '-')}"
    )


def metrics(story: Story, facts: Facts) -> str:
    """The metrics on each part, with intervals and references."""
    how = (
        "Values are pooled over all pixels whose truth is known. Intervals are over groups of samples (jackknife, "
        "Student's t): what other pictures of this kind could have given. They are of this one network, not of its "
        "configuration. The references are what the training part says without any network."
    )
    chosen = "Validation chose the epoch, and perhaps the run, so that its values are a little too good."
    parts = [part_table(one) for one in story.measured]
    own = story.config.stages[-1].height_width
    if facts.size != own:
        parts.insert(0, f"These are of the run at {own[0]}x{own[1]}; at the file's size nothing was measured.")
    if "int8" in facts.difference:
        parts.insert(0, "These are of the run in float32; what int8 costs is told below.")
    return "\n\n".join((*parts, how, f"{chosen} {story.readings}"))


def part_table(measured: Measured) -> str:
    """The metrics on one part."""
    names = [*measured.values]
    heads = [f"{name.removesuffix(FORMS[0])} {'↑' if measured.higher_is_better[name] else '↓'}" for name in names]
    rows = [
        ("**this network**", *(f"**{number(measured.values[name])}**" for name in names)),
        ("95 % interval", *(spread(measured.intervals[name]) for name in names)),
        *((who, *(number(each.get(name)) for name in names)) for who, each in measured.references.items()),
    ]
    kept = [row for row in rows if set(row[1:]) != {"-"}]
    title = f"On {measured.part}, {measured.samples:,} samples in {measured.groups:,} groups:"
    return f"{title}\n\n{table(('', *heads), kept)}"


def against_the_run(facts: Facts) -> str:
    """How far the exported file is from the run."""
    apart = facts.difference
    rows = [(f"`{one}`", *(f"{apart[one][which]:.2g}" for which in ("greatest", "mean"))) for one in ("depth", "mask")]
    text = (
        f"On {apart['what']}, the file's predictions differ from those of the run in float32, relative to max(1, "
        f"value), by:\n\n{table(('', 'at most', 'in the mean'), rows)}"
    )
    if before := apart.get("float32"):
        after = apart["int8"]
        both = [(name.removesuffix(FORMS[0]), number(one), number(after.get(name))) for name, one in before.items()]
        text += f"\n\nWhat int8 costs, on validation:\n\n{table(('', 'float32', 'int8'), both)}"
    return text


def limits(story: Story, facts: Facts) -> str:
    """What the network cannot do, as far as the record says."""
    low, high = facts.depth["low"], facts.depth["high"]
    lines = [
        f"It learnt depth and masks from `{story.data}`{' alone' if story.began == RANDOM else ''}. On other cameras, "
        "scenes and objects it was not measured here.",
        f"Depth in the training data is between {low:g} and {high:g}{' m' if facts.unit else ''}; nothing "
        "nearer or farther was ever learnt.",
        "It does not say how sure of a depth it is.",
        f"It is one network of one seed ({story.config.seed}); with another seed it would be better or worse.",
    ]
    for measured in of_file(story, facts) or story.measured:
        if beaten := measured.not_better:
            named = ", ".join(
                f"{metric.removesuffix(FORMS[0])} ({who.removeprefix(PREFIX).strip()})"
                for metric, who in beaten.items()
            )
            lines.append(f"On {measured.part} it is NO BETTER than a reference in: {named}.")
    if "background" in facts.inputs:
        lines.append("The background has to be taken with the same camera at the same place and in the same light.")
    return "\n".join(f"- {line}" for line in lines)


def licence(story: Story) -> str:
    """What is known of the licence of the weights."""
    said = story.declared.license if story.declared is not None else None
    data = f"whose licence is given as: {said}" if said else "whose licence is not known here"
    return (
        f"The weights are learnt from `{story.data}`, {data}. Training began with {story.began}. Under which licence "
        "the weights may be passed on follows from these, and is for the person to say who does it: put it into "
        f"`{LICENCE}` and into the front matter above."
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, with the first column left-aligned."""

    def lines() -> Iterator[str]:
        yield f"| {' | '.join(head)} |"
        yield f"|---|{'---:|' * (len(head) - 1)}" if len(head) > 2 else "|---|---|"
        yield from (f"| {' | '.join(row)} |" for row in rows)

    return "\n".join(lines())


def number(value: float | None) -> str:
    """A value with three digits that count."""
    return "-" if value is None else f"{value:.3g}"


def spread(ends: tuple[float, float] | None) -> str:
    """An interval."""
    return "-" if ends is None else f"{ends[0]:.3g} to {ends[1]:.3g}"
