"""How a study proposes trials, and which it ends early."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from dmx.config.base import Frozen

Count = Annotated[int, Field(ge=1)]


def named(value: Any) -> Any:
    """A name alone as a mapping with it."""
    return {"name": value} if isinstance(value, str) else value


class TpeConfig(Frozen):
    """Tree-structured Parzen estimator, over all parameters that occur together at once (Bergstra et al. 2011)."""

    name: Literal["tpe"] = "tpe"
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
        TpeConfig | RandomConfig | GpConfig | Nsga2Config | Nsga3Config | QmcConfig | GridConfig,
        Field(discriminator="name"),
    ],
    BeforeValidator(named),
]


class MedianConfig(Frozen):
    """A trial whose best value so far is worse than the median of the others at that epoch ends."""

    name: Literal["median"] = "median"
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

    The others are held, and go on from their checkpoints should they be among the best when more have come. With
    several objectives the best are those of the first non-dominated ranks, and within a rank those that add most
    hypervolume (Beume et al. 2007); Schmucker et al. 2021 compare NSGA-II's crowding and an epsilon-net for that.
    """

    name: Literal["halving"]
    min_epochs: Count = 1
    """r, the epochs before the first choice."""
    factor: Annotated[int, Field(ge=2)] = 3
    """η."""
    rungs: Literal["epochs", "stages"] = "epochs"
    """`stages`: the choices are at the ends of the experiment's stages, which may grow in pictures' size and share."""


class HyperbandConfig(Frozen):
    """Halving with several first choices, some late, for trials that start slowly (Li et al. 2018)."""

    name: Literal["hyperband"]
    min_epochs: Count = 1
    """Epochs before the earliest first choice."""
    factor: Annotated[int, Field(ge=2)] = 3
    """η."""


class NoPrunerConfig(Frozen):
    """Every trial runs to its end."""

    name: Literal["none"]


PrunerConfig = Annotated[
    Annotated[
        MedianConfig | PercentileConfig | PatientConfig | HalvingConfig | HyperbandConfig | NoPrunerConfig,
        Field(discriminator="name"),
    ],
    BeforeValidator(named),
]

FOR_SEVERAL = ("halving", "none")
"""Pruners that know several objectives."""
