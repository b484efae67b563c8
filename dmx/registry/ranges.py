"""Search ranges of parameters: a range of numbers or a choice of values."""

from dataclasses import dataclass

Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; uniform or, with `log`, log-uniform.

    The parameter's type decides between integers and floats.

    Raises:
        ValueError: `low` is not below `high`, or `log` starts at or below zero, or `log` comes with a `step`.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"`low` must be below `high`, but got low={self.low}, high={self.high}; swap them.")
        if self.log and self.low <= 0:
            raise ValueError(f"`log` needs `low` above 0, but got low={self.low}; raise it or drop `log`.")
        if self.log and self.step is not None:
            raise ValueError(f"`log` and `step` exclude each other, but got step={self.step}; drop one.")
        if self.step is not None and self.step <= 0:
            raise ValueError(f"`step` must be above 0, but got step={self.step}.")

    def __str__(self) -> str:
        extra = ", log" if self.log else f", step {self.step:g}" if self.step else ""
        return f"{self.low:g} .. {self.high:g}{extra}"


@dataclass(frozen=True)
class Choice:
    """One of the given values.

    Raises:
        ValueError: No value is given, or one twice.
    """

    values: tuple[Scalar, ...]

    def __init__(self, *values: Scalar) -> None:
        object.__setattr__(self, "values", values)
        if not values:
            raise ValueError("`Choice` needs at least one value, but got none.")
        if len(set(values)) != len(values):
            raise ValueError(f"`Choice` needs different values, but got {values}.")

    def __str__(self) -> str:
        return " | ".join(str(value) for value in self.values)


Search = Range | Choice
