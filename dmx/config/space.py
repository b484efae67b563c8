"""The space of a study: which places of the experiment vary, over what, and when.

`model: auto` opens the choice among all registered models, each with its own conditional search ranges;
`model.unet.encoder: [...]` replaces one of those; `augment: auto` opens the ranges of the augmentations that the
experiment names; any other place of the experiment takes a list, a range or a value.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from dmx.config.experiment import ExperimentConfig
from dmx.config.needs import unmet
from dmx.config.reading import with_value
from dmx.config.slots import SLOTS, component_in, slot_of
from dmx.config.study import RangeConfig, StudyConfig
from dmx.errors import ConfigError, Problem, did_you_mean
from dmx.registry import Choice, Range, Search

AUGMENT = "augment"


@dataclass(frozen=True)
class Dimension:
    """One thing that varies: `path` over `search`, only `when` a slot holds a component (None: always)."""

    path: str
    search: Search
    when: tuple[str, str] | None
    whole: bool
    """Whether a range means whole numbers."""

    def applies(self, values: Mapping[str, Any]) -> bool:
        """Whether it varies in a trial that has drawn `values` so far."""
        return self.when is None or values.get(self.when[0]) == self.when[1]

    def holds(self, value: Any) -> bool:
        """Whether a trial could draw `value`."""
        if isinstance(self.search, Choice):
            return value in self.search.values
        low, high, step = self.search.low, self.search.high, self.search.step
        number = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
        return number and (step is None or abs((value - low) / step - round((value - low) / step)) < 1e-9)

    def ends(self) -> tuple[Any, ...]:
        """Every choice, or both ends of the range."""
        if isinstance(self.search, Choice):
            return self.search.values
        ends = (self.search.low, self.search.high)
        return tuple(int(end) for end in ends) if self.whole else ends


@dataclass(frozen=True)
class Space:
    """All dimensions of a study, slots first, around the experiment that they vary."""

    experiment: ExperimentConfig
    dimensions: tuple[Dimension, ...]

    def raw(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The experiment with the drawn `values` in place, as plain data."""
        data = self.experiment.dump()
        for slot in SLOTS:
            old = component_in(data, slot)
            name = values.get(slot, old["name"])
            new = old if name == old["name"] else {"name": name}
            own = f"{slot}.{name}."
            new = new | {path.removeprefix(own): value for path, value in values.items() if path.startswith(own)}
            if new != old:
                data = with_value(data, slot.split("."), [new] if slot.startswith("loss.") else new)
        for path, value in values.items():
            if slot_of(path) is None:
                data = with_value(data, path.split("."), value)
        return data


def standing(data: Mapping[str, Any], dimension: Dimension) -> Any:
    """What stands in a dumped experiment where `dimension` varies; None where another component is."""
    slot = slot_of(dimension.path)
    if slot is None:
        return _place(data, dimension.path)
    component = component_in(data, slot)
    if dimension.path == slot:
        return component["name"]
    name, _, parameter = dimension.path.removeprefix(slot + ".").partition(".")
    return component.get(parameter) if component["name"] == name else None


def build_space(study: StudyConfig, depth_kind: str | None = None, has_background: bool = True) -> Space:
    """The space of `study`; `auto` over losses keeps those that can teach alone, and of depth those for `depth_kind`.

    Without backgrounds in the data, models are tried on the image alone.

    Raises:
        ConfigError: A place does not exist, a component is not known, or a value is not legal; all are reported.
    """
    problems: list[Problem] = []
    dimensions: dict[str, Dimension] = {}
    data = study.experiment.dump()
    candidates: dict[str, tuple[str, ...]] = {}
    for slot in SLOTS:
        try:
            candidates[slot] = _candidates(slot, study, depth_kind)
        except ValueError as error:
            problems.append(Problem(f"search.{slot}", str(error)))
            candidates[slot] = ()
        if slot in study.search and candidates[slot]:
            dimensions[slot] = Dimension(slot, Choice(*candidates[slot]), None, whole=False)
            dimensions |= {dimension.path: dimension for dimension in _defaults(slot, candidates[slot], has_background)}
    for path, given in study.search.items():
        if path == AUGMENT and given == "auto":
            found = {dimension.path: dimension for dimension in _augmentations(study.experiment)}
            dimensions |= found
            if not found:
                what = "the experiment names no augmentation whose ranges could be searched; list some under `augment`"
                problems.append(Problem("search.augment", what))
        elif path not in SLOTS:
            try:
                dimensions[path] = _explicit(path, given, data, candidates, so_far=dimensions)
            except ValueError as error:
                problems.append(Problem(f"search.{path}", str(error)))
    space = Space(study.experiment, tuple(dimensions.values()))
    problems = problems or list(_illegal(space))
    if problems:
        raise ConfigError(f"study '{study.name}'", problems)
    return space


def _candidates(slot: str, study: StudyConfig, depth_kind: str | None) -> tuple[str, ...]:
    """The names that may stand in `slot`."""
    registry, possible = SLOTS[slot], partial(_possible, study)
    data = study.experiment.dump()
    several = slot.startswith("loss.") and len(data["loss"][slot[5:]]) > 1
    if several and any(slot_of(path) == slot for path in study.search):
        raise ValueError(f"the experiment adds up several of {slot}; a search varies a single one, so leave one there")
    given = study.search.get(slot, component_in(data, slot)["name"])
    if given == "auto":
        kept = [
            name
            for name, component in registry.items()
            if depth_kind is None or depth_kind in component.facts.get("kinds", (depth_kind,))
            if not component.facts.get("term")
            if not any(unmet(component, possible))
        ]
        return tuple(sorted(kept))
    if isinstance(given, RangeConfig):
        raise ValueError(f"a {registry.kind} is chosen by name; give 'auto' or a list of names")
    names = tuple(str(name) for name in (given if isinstance(given, tuple) else (given,)))
    if len(set(names)) < len(names):
        raise ValueError(f"names one {registry.kind} twice ({', '.join(names)}); leave one")
    unknown = [f"no {registry.kind} '{name}'; {did_you_mean(name, registry)}" for name in names if name not in registry]
    unmet_ones = [problem for name in names if name in registry for problem in unmet(registry[name], possible)]
    if unknown or unmet_ones:
        raise ValueError("; ".join([*unknown, *(f"{problem} in some trials" for problem in unmet_ones)]))
    return names


def _possible(study: StudyConfig, place: str) -> tuple[Any, ...]:
    """What may stand at `place` of the experiment in a trial."""
    if place not in study.search:
        standing = _place(study.experiment.dump(), place)
        return (standing["name"] if isinstance(standing, dict) else standing,)
    given = study.search[place]
    if given == "auto":
        return tuple(SLOTS[place])
    if isinstance(given, RangeConfig):
        return (given.low, given.high)
    return given if isinstance(given, tuple) else (given,)


def _defaults(slot: str, names: tuple[str, ...], has_background: bool) -> Iterator[Dimension]:
    """The search ranges that the components themselves bring."""
    for name in names:
        fields = SLOTS[slot][name].params.model_fields
        searched = SLOTS[slot][name].search_space()
        if slot == "model" and "inputs" in fields and not has_background:
            searched["inputs"] = Choice("image")
        for parameter, search in searched.items():
            whole = fields[parameter].annotation is int
            yield Dimension(f"{slot}.{name}.{parameter}", search, (slot, name), whole)


def _augmentations(experiment: ExperimentConfig) -> Iterator[Dimension]:
    """The search ranges of every augmentation that the experiment names."""
    for number, step in enumerate(experiment.augment.steps):
        for parameter, search in step.component.search_space().items():
            whole = step.component.params.model_fields[parameter].annotation is int
            yield Dimension(f"{AUGMENT}.steps.{number}.{parameter}", search, None, whole)


def _explicit(
    path: str,
    given: Any,
    data: dict[str, Any],
    candidates: Mapping[str, tuple[str, ...]],
    so_far: Mapping[str, Dimension],
) -> Dimension:
    """The dimension that a study spells out for `path`."""
    slot = slot_of(path)
    if given == "auto":
        raise ValueError(f"'auto' is for {', '.join(SLOTS)} and {AUGMENT}; give a list, a range or a value here")
    search = _search(given)
    if slot is None:
        if path == f"stages.{len(data['stages']) - 1}.size":
            raise ValueError("validation runs at the size of the last stage; trials of different sizes do not compare")
        return Dimension(path, search, None, whole=type(_place(data, path)) is int)
    name, _, parameter = path.removeprefix(slot + ".").partition(".")
    if name not in candidates[slot]:
        raise ValueError(f"no '{name}' is tried here; {did_you_mean(name, candidates[slot])}")
    fields = SLOTS[slot][name].params.model_fields
    if parameter not in fields:
        raise ValueError(f"{SLOTS[slot].kind} '{name}' has no '{parameter}'; {did_you_mean(parameter, fields)}")
    when = (slot, name) if slot in so_far else None
    return Dimension(path, search, when, fields[parameter].annotation is int)


def _search(given: Any) -> Search:
    if isinstance(given, RangeConfig):
        return Range(given.low, given.high, given.log, given.step)
    return Choice(*given) if isinstance(given, tuple) else Choice(given)


def _place(data: Any, path: str) -> Any:
    """What stands at `path` of the experiment; ValueError where there is no such place."""
    node = data
    for key in path.split("."):
        places = (
            [str(i) for i in range(len(node))] if isinstance(node, list) else node if isinstance(node, dict) else []
        )
        if key not in places:
            raise ValueError(f"the experiment has no '{key}' here; {did_you_mean(key, places)}")
        node = node[int(key)] if isinstance(node, list) else node[key]
    return node


def _illegal(space: Space) -> Iterator[Problem]:
    """Every end of a range and every choice that the experiment itself would refuse."""
    from dmx.config import parse_experiment  # the package's own front, which imports this module's siblings

    for dimension in space.dimensions:
        for end in dimension.ends():
            values = {dimension.path: end} | (dict([dimension.when]) if dimension.when else {})
            try:
                parse_experiment(space.raw(values), "experiment")
            except ConfigError as error:
                for problem in error.problems:
                    yield Problem(f"search.{dimension.path}", f"{end!r} is not legal: {problem.what}")
