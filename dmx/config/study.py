"""One study: an experiment, what is searched around it, and how."""

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from dmx.config.base import Frozen
from dmx.config.experiment import ExperimentConfig, NotEmpty, Slug, Stage, as_list
from dmx.config.objective import COSTS, Goal
from dmx.config.search import FOR_SEVERAL, MedianConfig, PrunerConfig, SamplerConfig, TpeConfig

Value = bool | int | float | str | None


class RangeConfig(Frozen):
    """Numbers from `low` to `high`: `{low: 1e-4, high: 1e-2, log: true}`."""

    low: float
    high: float
    log: bool = False
    step: float | None = None


def all_differ(seeds: tuple[int, ...]) -> tuple[int, ...]:
    """Seeds of which none stands twice: the same seed is the same run."""
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
    """What `dmx train-best` does with the best trial's configuration."""

    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**32)], ...], NotEmpty, AfterValidator(all_differ)] = (
        0,
        1,
        2,
    )
    stages: tuple[Stage, ...] | None = None
    """The full budget; without it, the trial's own."""


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
    """Values, by place as in `search`, of trials to begin with, after the one of the experiment as it stands."""
    trial_timeout: Annotated[float, Field(gt=0)] | None = None
    """Seconds of training after which a trial ends as timed-out."""
    limits: LimitsConfig = LimitsConfig()
    """Trials beyond these end as pruned before they begin."""
    max_failures: Annotated[int, Field(ge=1)] = 5
    """So many trials in a row that crash, run out of memory or of time, end the sweep."""
    sampler: SamplerConfig = TpeConfig()
    """What proposes the next trial."""
    pruner: PrunerConfig = MedianConfig()
    """What ends trials that will not be among the best."""
    train_best: TrainBestConfig = TrainBestConfig()

    @model_validator(mode="after")
    def _several_objectives_have_their_means(self) -> "StudyConfig":
        metrics = [goal.metric for goal in self.goals]
        if len(set(metrics)) < len(metrics):
            raise ValueError(f"objectives name one twice ({', '.join(metrics)}); the experiment's own stands already")
        if self.objectives and self.pruner.name not in FOR_SEVERAL:
            raise ValueError(
                f"pruner '{self.pruner.name}' knows one objective, but the study has {len(metrics)}; "
                f"take {' or '.join(FOR_SEVERAL)}"
            )
        if self.sampler.name == "grid" and self.queue:
            raise ValueError("queue does not go with sampler 'grid', which tries every combination; leave it out")
        first = getattr(self.pruner, "min_epochs", 0)
        if first >= self.experiment.epochs > 0 and getattr(self.pruner, "rungs", "epochs") == "epochs":
            raise ValueError(
                f"pruner.min_epochs is {first}, but a trial has {self.experiment.epochs} epochs, so nothing would be "
                "pruned; lower it, or take pruner none"
            )
        if self.pruner.name == "halving" and self.sampler.name.startswith("nsga"):
            raise ValueError(
                f"sampler '{self.sampler.name}' learns from trials that have ended, but pruner 'halving' holds them to "
                "the end; take sampler tpe, or pruner none"
            )
        return self

    @property
    def goals(self) -> tuple[Goal, ...]:
        """All that trials are judged by; the first chooses the epoch."""
        own = self.experiment.objective
        return (Goal(metric=own.metric, direction=own.direction), *self.objectives)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The validation metrics that trials are judged by; the first chooses the epoch."""
        return tuple(goal.metric for goal in self.goals if goal.metric not in COSTS)

    @property
    def measured(self) -> tuple[str, ...]:
        """Costs that are to be measured, because trials are judged by them or have limits."""
        named = {goal.metric for goal in self.goals} | {name for name, limit in self.limits if limit is not None}
        return tuple(cost for cost in ("memory_mb", "latency_ms") if cost in named)

    def dump(self) -> dict[str, Any]:
        """The whole configuration as plain data; reading it again gives an equal one."""
        return self.model_dump(mode="json")

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what decides the trials: everything but their number and what comes after them."""
        decisive = {key: value for key, value in self.dump().items() if key not in ("trials", "train_best")}
        text = json.dumps(decisive, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]
