"""The configuration of a study: base experiment, search space, sampler, pruner and limits."""

from math import ceil
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from dmx.config.base import Frozen
from dmx.config.experiment import ExperimentConfig, NotEmpty, Slug, Stage, as_list, decisive, hash_of
from dmx.config.objective import COSTS, Goal
from dmx.config.paths import named

Count = Annotated[int, Field(ge=1)]
Value = bool | int | float | str | None


class RangeConfig(Frozen):
    """Numbers from `low` to `high`: `{low: 1e-4, high: 1e-2, log: true}`."""

    low: float
    high: float
    log: bool = False
    step: float | None = None


def all_differ(seeds: tuple[int, ...]) -> tuple[int, ...]:
    """Refuse duplicate seeds, which would be the same run."""
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"must differ, but got {list(seeds)}; the same seed gives the same run")
    return seeds


class LimitsConfig(Frozen):
    """What a network may cost, at the size of the last stage."""

    parameters: Annotated[float, Field(gt=0)] | None = None
    """Learned parameters."""
    multiply_adds: Annotated[float, Field(gt=0)] | None = None
    """Of the forward pass of one sample; one counts once."""
    memory_mb: Annotated[float, Field(gt=0)] | None = None
    """MiB of weights, gradients and what the forward pass of a batch keeps, in float32."""
    latency_ms: Annotated[float, Field(gt=0)] | None = None
    """Milliseconds from one picture to its prediction, measured on the device."""


class TrainBestConfig(Frozen):
    """What `dmx train-best` does with the configurations of the best trials."""

    finalists: Count = 2
    """How many of the best trials are retrained; from the second seed on, what is clearly worse is out."""

    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**32)], ...], NotEmpty, AfterValidator(all_differ)] = (
        0,
        1,
        2,
    )
    stages: tuple[Stage, ...] | None = None
    """The full budget; without it, the trial's own."""


class TpeConfig(Frozen):
    """Tree-structured Parzen estimator, over all parameters that occur together at once (Bergstra et al. 2011)."""

    name: Literal["tpe"] = "tpe"
    startup_trials: Count = 10
    """Trials drawn at random before it models what they showed."""


class ForestConfig(Frozen):
    """Thompson sampling by a random forest (Hutter et al. 2011, Salinas et al. 2023)."""

    name: Literal["forest"]
    startup_trials: Count = 10
    """Trials drawn at random before it models what they showed."""


class RandomConfig(Frozen):
    """Each trial at random."""

    name: Literal["random"]


class GpConfig(Frozen):
    """Gaussian process; each proposal takes seconds, so it is for few and long trials."""

    name: Literal["gp"]
    startup_trials: Count = 10
    """Trials drawn at random before it models what they showed."""


class Nsga2Config(Frozen):
    """Genetic search for several objectives (Deb et al. 2002)."""

    name: Literal["nsga2"]
    population: Annotated[int, Field(ge=2)] = 20
    """Trials of a generation."""


class Nsga3Config(Frozen):
    """Genetic search for many objectives (Deb and Jain 2014)."""

    name: Literal["nsga3"]
    population: Annotated[int, Field(ge=2)] = 20
    """Trials of a generation."""


class QmcConfig(Frozen):
    """Points of a scrambled Sobol sequence, which fill the space more evenly than chance (Sobol 1967, Owen 1998)."""

    name: Literal["qmc"]


class GridConfig(Frozen):
    """Every combination of what the study lists, once."""

    name: Literal["grid"]


SamplerConfig = Annotated[
    Annotated[
        TpeConfig | ForestConfig | RandomConfig | GpConfig | Nsga2Config | Nsga3Config | QmcConfig | GridConfig,
        Field(discriminator="name"),
    ],
    BeforeValidator(named),
]


class MedianConfig(Frozen):
    """A trial whose best value so far is worse than the median of the others at that epoch ends."""

    name: Literal["median"]
    startup_trials: Count = 4
    """Trials that are never pruned, to have something to compare with."""
    warmup_epochs: Annotated[int, Field(ge=0)] = 1
    """Epochs of each trial before it can be pruned."""


class PercentileConfig(Frozen):
    """A trial whose best value so far is not among the best share of the others at that epoch ends."""

    name: Literal["percentile"]
    percentile: Annotated[float, Field(gt=0, lt=100)] = 25.0
    """The share in percent."""
    startup_trials: Count = 4
    """Trials that are never pruned."""
    warmup_epochs: Annotated[int, Field(ge=0)] = 1
    """Epochs of each trial before it can be pruned."""


class PatientConfig(Frozen):
    """A trial ends whose last epochs were all worse than the best one before them."""

    name: Literal["patient"]
    patience: Count = 3
    """Worse epochs that are put up with; one more ends the trial."""
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    """By how much an epoch must be worse to count."""


class HalvingConfig(Frozen):
    """After r, r η, r η², ... epochs the best of every η trials go on (asynchronous: Li et al. 2020).

    The others are paused, and go on from their checkpoints should they be among the best when more have come. With
    several objectives the best are those of the first non-dominated ranks, and within a rank those that add most
    hypervolume (Beume et al. 2007); Schmucker et al. 2021 compare NSGA-II's crowding and an epsilon-net for that.
    """

    name: Literal["halving"] = "halving"
    min_epochs: Count | None = None
    """r, the epochs before the first choice; without it 3, or a ninth of a trial's epochs where that is more."""
    factor: Annotated[int, Field(ge=2)] = 3
    """η."""
    rungs: Literal["epochs", "stages"] = "epochs"
    """`stages`: the choices are at the ends of the experiment's stages, which may grow in pictures' size and share."""

    def first(self, epochs: int) -> int:
        """The epochs before the first choice, for trials of `epochs` epochs."""
        return self.min_epochs or max(3, ceil(epochs / 9))


class HyperbandConfig(Frozen):
    """Halving with several first choices, some late, for trials that start slowly (Li et al. 2018)."""

    name: Literal["hyperband"]
    min_epochs: Count = 1
    """Epochs before the earliest first choice."""
    factor: Annotated[int, Field(ge=2)] = 3
    """η."""


class NoPrunerConfig(Frozen):
    """Every trial runs to its end."""

    name: Literal["none"] = "none"


PrunerConfig = Annotated[
    Annotated[
        MedianConfig | PercentileConfig | PatientConfig | HalvingConfig | HyperbandConfig | NoPrunerConfig,
        Field(discriminator="name"),
    ],
    BeforeValidator(named),
]

FOR_SEVERAL = ("halving", "none")
"""Pruners that support several objectives."""


class WarmStartConfig(Frozen):
    """An earlier study to begin with."""

    study: Annotated[Slug, Field(max_length=60)]
    """Its name."""
    top: Annotated[int, Field(ge=0)] = 3
    """So many of its best configurations are tried first."""


def as_study(value: Any) -> Any:
    """Take a bare name as that of an earlier study."""
    return {"study": value} if isinstance(value, str) else value


class StudyConfig(Frozen):
    """Everything that decides what a study does."""

    name: Annotated[Slug, Field(max_length=60)]
    """Its runs are called after it."""
    experiment: ExperimentConfig
    search: dict[str, Literal["auto"] | RangeConfig | tuple[Value, ...] | Value]
    """Places of the experiment and what to try there: `auto`, a list, a range, or one value."""
    trials: Annotated[int, Field(ge=1, le=100_000)]
    """How many trials in all, over every start."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    objectives: Annotated[tuple[Goal, ...], BeforeValidator(as_list)] = ()
    """What trials are judged by beside the experiment's objective, which still chooses the epoch of each."""
    queue: tuple[dict[str, Value], ...] = ()
    """Values, by place as in `search`, of trials to begin with, after that of the unchanged experiment."""
    warm_start: Annotated[WarmStartConfig | None, BeforeValidator(as_study)] = None
    """An earlier study whose best configurations come after the queue, and of whose trials the sampler is told."""
    trial_timeout: Annotated[float, Field(gt=0)] | None = None
    """Seconds of training after which a trial ends as timed-out."""
    limits: LimitsConfig = LimitsConfig()
    """Trials beyond these end as pruned before they begin."""
    max_failures: Annotated[int, Field(ge=1)] = 5
    """So many trials in a row that crash, run out of memory or of time, end the sweep."""
    sampler: SamplerConfig = TpeConfig()
    """What proposes the next trial."""
    pruner: PrunerConfig = HalvingConfig()
    """What ends trials that will not be among the best."""
    train_best: TrainBestConfig = TrainBestConfig()

    @model_validator(mode="before")
    @classmethod
    def _halving_is_for_samplers_that_learn_from_paused_trials(cls, data: Any) -> Any:
        sampler = data.get("sampler") if isinstance(data, dict) else None
        name = sampler.get("name") if isinstance(sampler, dict) else sampler
        return {"pruner": "none", **data} if name in ("nsga2", "nsga3") else data

    @model_validator(mode="after")
    def _several_objectives_have_their_means(self) -> "StudyConfig":
        metrics = [goal.metric for goal in self.goals]
        if len(set(metrics)) < len(metrics):
            named = ", ".join(metrics)
            raise ValueError(
                f"objectives name one twice ({named}); the experiment's own needs no mention but for a bound"
            )
        if len(metrics) > 1 and self.pruner.name not in FOR_SEVERAL:
            raise ValueError(
                f"pruner '{self.pruner.name}' knows one objective, but the study has {len(metrics)}; "
                f"take {' or '.join(FOR_SEVERAL)}"
            )
        if self.sampler.name == "grid" and self.queue:
            raise ValueError("queue does not go with sampler 'grid', which tries every combination; leave it out")
        if self.sampler.name == "grid" and self.warm_start:
            raise ValueError("warm_start does not go with sampler 'grid', which tries every combination; leave it out")
        if self.warm_start and self.warm_start.study == self.name:
            raise ValueError(f"warm_start names this study, '{self.name}'; give it the name of an earlier one")
        first = getattr(self.pruner, "min_epochs", None) or 0
        if first >= self.experiment.epochs > 0 and getattr(self.pruner, "rungs", "epochs") == "epochs":
            raise ValueError(
                f"pruner.min_epochs is {first}, but a trial has {self.experiment.epochs} epochs, so nothing would be "
                "pruned; lower it, or take pruner none"
            )
        if self.pruner.name == "halving" and self.sampler.name.startswith("nsga"):
            raise ValueError(
                f"sampler '{self.sampler.name}' learns from trials that have ended, but pruner 'halving' pauses them "
                "to the end; take sampler tpe, or pruner none"
            )
        return self

    @property
    def goals(self) -> tuple[Goal, ...]:
        """All objectives; the first one selects the best epoch."""
        own = self.experiment.objective
        bounded = [goal for goal in self.objectives if goal.metric == own.metric and goal.bound is not None][:1]
        first = bounded or [Goal(metric=own.metric, direction=own.direction)]
        return (*first, *(goal for goal in self.objectives if goal is not first[0]))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The validation metrics among the objectives; the first one selects the best epoch."""
        return tuple(goal.metric for goal in self.goals if goal.metric not in COSTS)

    @property
    def measured(self) -> tuple[str, ...]:
        """The costs that must be measured, as objectives or for limits."""
        named = {goal.metric for goal in self.goals} | {name for name, limit in self.limits if limit is not None}
        return tuple(cost for cost in ("memory_mb", "latency_ms") if cost in named)

    def dump(self) -> dict[str, Any]:
        """Dump the whole configuration as plain data; `parse_study` restores an equal one."""
        return self.model_dump(mode="json")

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything that determines the trials: not their number, nor what follows the search."""
        data = {key: value for key, value in self.dump().items() if key not in ("trials", "train_best")}
        return hash_of({**data, "experiment": decisive(data["experiment"])})
