"""The search space of a study: which places of the experiment vary, over which values, and under which condition.

`model: auto` searches over all registered models, each with its own conditional search ranges;
`model.unet.encoder: [...]` replaces one of those ranges; `augment: auto` searches the ranges of the augmentations that
the experiment names; any other place of the experiment takes a list, a range or a value.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from dmx.config.components import COMPONENT_PATHS, component_at, component_path_of, name_or_value_at, unmet
from dmx.config.experiment import ExperimentConfig
from dmx.config.paths import lookup, with_value
from dmx.config.study import RangeConfig, StudyConfig
from dmx.errors import ConfigError, Problem, did_you_mean
from dmx.registry import Choice, Range, Search

AUGMENT = "augment"


@dataclass(frozen=True)
class Dimension:
    """One searched parameter: `path` over `search`, active `when` a component path holds a component (None: always)."""

    path: str
    search: Search
    when: tuple[str, str] | None
    whole: bool
    """Whether a range is over integers."""

    def applies(self, values: Mapping[str, Any]) -> bool:
        """Whether the dimension is active in a trial that has drawn `values` so far."""
        return self.when is None or values.get(self.when[0]) == self.when[1]

    def holds(self, value: Any) -> bool:
        """Whether a trial could draw `value`."""
        if isinstance(self.search, Choice):
            return value in self.search.values
        low, high, step = self.search.low, self.search.high, self.search.step
        number = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
        return number and (step is None or abs((value - low) / step - round((value - low) / step)) < 1e-9)

    def ends(self) -> tuple[Any, ...]:
        """Return every choice, or both ends of the range."""
        if isinstance(self.search, Choice):
            return self.search.values
        ends = (self.search.low, self.search.high)
        return tuple(int(end) for end in ends) if self.whole else ends


@dataclass(frozen=True)
class Space:
    """All dimensions of a study, components first, around the experiment that they vary."""

    experiment: ExperimentConfig
    dimensions: tuple[Dimension, ...]

    def raw(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the experiment with the drawn `values` filled in, as plain data."""
        data = self.experiment.dump()
        for place in COMPONENT_PATHS:
            old = component_at(data, place)
            name = values.get(place, old["name"])
            new = old if name == old["name"] else {"name": name}
            own = f"{place}.{name}."
            new = new | {path.removeprefix(own): value for path, value in values.items() if path.startswith(own)}
            if new != old:
                data = with_value(data, place, [new] if place.startswith("loss.") else new)
        for path, value in values.items():
            if component_path_of(path) is None:
                data = with_value(data, path, value)
        return data


def value_at(data: Mapping[str, Any], dimension: Dimension) -> Any:
    """Return a dumped experiment's value of `dimension`; None if it has another component there."""
    place = component_path_of(dimension.path)
    if place is None:
        return lookup(data, dimension.path)
    component = component_at(data, place)
    if dimension.path == place:
        return component["name"]
    name, _, parameter = dimension.path.removeprefix(place + ".").partition(".")
    return component.get(parameter) if component["name"] == name else None


def build_space(study: StudyConfig, depth_kind: str | None = None, has_background: bool = True) -> Space:
    """Build the search space of a study.

    Args:
        study: The study.
        depth_kind: The kind of depth in the data; `auto` keeps only losses that suit it, None keeps all. Losses that
            are not sufficient on their own are always left out.
        has_background: Whether the data have backgrounds; without them models only get the image.

    Raises:
        ConfigError: A place does not exist, a component is unknown, or a value is illegal; all problems are reported.
    """
    problems: list[Problem] = []
    dimensions: dict[str, Dimension] = {}
    data = study.experiment.dump()
    candidates: dict[str, tuple[str, ...]] = {}
    for place in COMPONENT_PATHS:
        try:
            candidates[place] = _candidates(place, study, depth_kind)
        except ValueError as error:
            problems.append(Problem(f"search.{place}", str(error)))
            candidates[place] = ()
        if place in study.search and candidates[place]:
            dimensions[place] = Dimension(place, Choice(*candidates[place]), None, whole=False)
            dimensions |= {
                dimension.path: dimension for dimension in _defaults(place, candidates[place], has_background)
            }
    for path, given in study.search.items():
        if path == AUGMENT and given == "auto":
            found = {dimension.path: dimension for dimension in _augmentations(study.experiment)}
            dimensions |= found
            if not found:
                what = "the experiment names no augmentation whose ranges could be searched; list some under `augment`"
                problems.append(Problem("search.augment", what))
        elif path not in COMPONENT_PATHS:
            try:
                dimensions[path] = _explicit(path, given, data, candidates, so_far=dimensions)
            except ValueError as error:
                problems.append(Problem(f"search.{path}", str(error)))
    space = Space(study.experiment, tuple(dimensions.values()))
    problems = problems or list(_illegal(space))
    if problems:
        raise ConfigError(f"study '{study.name}'", problems)
    return space


def _candidates(place: str, study: StudyConfig, depth_kind: str | None) -> tuple[str, ...]:
    """Return the names that may occur at the component path `place`."""
    registry, possible = COMPONENT_PATHS[place], partial(_possible, study)
    data = study.experiment.dump()
    several = place.startswith("loss.") and len(data["loss"][place[5:]]) > 1
    if several and any(component_path_of(path) == place for path in study.search):
        raise ValueError(f"the experiment adds up several of {place}; a search varies a single one, so leave one there")
    given = study.search.get(place, component_at(data, place)["name"])
    if given == "auto":
        kept = [
            name
            for name, component in registry.items()
            if depth_kind is None or depth_kind in component.facts.get("kinds", (depth_kind,))
            if not component.facts.get("term") and component.facts.get("auto", True)
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
    """Return the values that may occur at `place` of the experiment in a trial."""
    if place not in study.search:
        return (name_or_value_at(study.experiment.dump(), place),)
    given = study.search[place]
    if given == "auto":
        return tuple(COMPONENT_PATHS[place])
    if isinstance(given, RangeConfig):
        return (given.low, given.high)
    return given if isinstance(given, tuple) else (given,)


def _defaults(place: str, names: tuple[str, ...], has_background: bool) -> Iterator[Dimension]:
    """Yield the search ranges that the components declare."""
    for name in names:
        fields = COMPONENT_PATHS[place][name].params.model_fields
        searched = COMPONENT_PATHS[place][name].search_space()
        if place == "model" and "inputs" in fields and not has_background:
            searched["inputs"] = Choice("image")
        for parameter, search in searched.items():
            whole = fields[parameter].annotation is int
            yield Dimension(f"{place}.{name}.{parameter}", search, (place, name), whole)


def _augmentations(experiment: ExperimentConfig) -> Iterator[Dimension]:
    """Yield the search ranges of every augmentation that the experiment names."""
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
    """Make the dimension that a study gives explicitly for `path`."""
    place = component_path_of(path)
    if given == "auto":
        raise ValueError(
            f"'auto' is for {', '.join(COMPONENT_PATHS)} and {AUGMENT}; give a list, a range or a value here"
        )
    search = _search(given)
    if place is None:
        if path == f"stages.{len(data['stages']) - 1}.size":
            raise ValueError("validation runs at the size of the last stage; trials of different sizes do not compare")
        return Dimension(path, search, None, whole=type(lookup(data, path)) is int)
    name, _, parameter = path.removeprefix(place + ".").partition(".")
    if name not in candidates[place]:
        raise ValueError(f"no '{name}' is tried here; {did_you_mean(name, candidates[place])}")
    fields = COMPONENT_PATHS[place][name].params.model_fields
    if parameter not in fields:
        raise ValueError(
            f"{COMPONENT_PATHS[place].kind} '{name}' has no '{parameter}'; {did_you_mean(parameter, fields)}"
        )
    when = (place, name) if place in so_far else None
    return Dimension(path, search, when, fields[parameter].annotation is int)


def _search(given: Any) -> Search:
    if isinstance(given, RangeConfig):
        return Range(given.low, given.high, given.log, given.step)
    return Choice(*given) if isinstance(given, tuple) else Choice(given)


def _illegal(space: Space) -> Iterator[Problem]:
    """Yield a problem for every end of a range and every choice that the experiment's validation refuses."""
    from dmx.config import parse_experiment  # the package's `__init__` imports this module's siblings

    for dimension in space.dimensions:
        for end in dimension.ends():
            values = {dimension.path: end} | (dict([dimension.when]) if dimension.when else {})
            try:
                parse_experiment(space.raw(values), "experiment")
            except ConfigError as error:
                for problem in error.problems:
                    yield Problem(f"search.{dimension.path}", f"{end!r} is not legal: {problem.what}")
