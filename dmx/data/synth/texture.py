"""Procedural textures: colour as a function of two lengths along the surface, in metres."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, UInt64

Pattern = Literal["plain", "checker", "stripes", "bricks", "planks", "dots", "noise"]
PATTERNS: tuple[Pattern, ...] = get_args(Pattern)

Values = Float[np.ndarray, "N"]


@dataclass(frozen=True)
class Material:
    """What a surface looks like.

    Attributes:
        pattern: How `first` and `second` alternate.
        first: Linear RGB in [0, 1].
        second: Linear RGB in [0, 1].
        pitch: Metres from one repetition to the next.
        grain: How much fine noise is laid over it, in [0, 1].
        gloss: How strong highlights are, in [0, 1].
        seed: Which noise.
    """

    pattern: Pattern
    first: tuple[float, float, float]
    second: tuple[float, float, float]
    pitch: float
    grain: float
    gloss: float
    seed: int

    def colour(self, u: Values, v: Values) -> Float[np.ndarray, "N 3"]:
        """Linear RGB at the places (u, v)."""
        share = _share(self.pattern, u / self.pitch, v / self.pitch, self.seed)[:, None]
        colour = (1 - share) * np.array(self.first) + share * np.array(self.second)
        grain = noise(u / 0.07, v / 0.07, self.seed + 1) + noise(u / 0.4, v / 0.4, self.seed + 2)
        return np.asarray(colour * (1 + self.grain * (grain - 1)[:, None]))


def _share(pattern: Pattern, u: Values, v: Values, seed: int) -> Values:
    """How much of the second colour is at (u, v), in [0, 1]."""
    match pattern:
        case "plain":
            return np.zeros_like(u)
        case "checker":
            return np.asarray((np.floor(u) + np.floor(v)) % 2)
        case "stripes":
            return np.asarray(np.floor(2 * u) % 2)
        case "bricks":
            row = np.floor(2 * v)
            joint = ((u + 0.5 * (row % 2)) % 1 < 0.06) | ((2 * v) % 1 < 0.12)
            return np.where(joint, 1.0, 0.35 * hashed(np.floor(u + 0.5 * (row % 2)), row, seed))
        case "planks":
            row = np.floor(2 * u)
            board = np.floor(0.3 * v + hashed(row, np.zeros_like(row), seed))
            return np.where((2 * u) % 1 < 0.05, 1.0, 0.6 * hashed(row, board, seed + 1))
        case "dots":
            return (np.hypot(u % 1 - 0.5, v % 1 - 0.5) < 0.3).astype(float)
        case "noise":
            return np.asarray(0.65 * noise(u, v, seed) + 0.35 * noise(3 * u, 3 * v, seed + 1))


def noise(u: Values, v: Values, seed: int) -> Values:
    """Value noise in [0, 1]: random numbers on the integer grid, blended by the cubic 3 t^2 - 2 t^3."""
    i, j = np.floor(u), np.floor(v)
    s, t = u - i, v - j
    s, t = s * s * (3 - 2 * s), t * t * (3 - 2 * t)
    low = (1 - s) * hashed(i, j, seed) + s * hashed(i + 1, j, seed)
    high = (1 - s) * hashed(i, j + 1, seed) + s * hashed(i + 1, j + 1, seed)
    return np.asarray((1 - t) * low + t * high)


def hashed(i: Values, j: Values, seed: int) -> Values:
    """A number in [0, 1) for each cell of the grid: Weyl steps and the mixing of SplitMix64 (Steele et al. 2014)."""
    key = _mixed(i.astype(np.int64).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed))
    key = _mixed(j.astype(np.int64).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + key)
    return np.asarray((key >> np.uint64(11)).astype(float) / 2**53)


def _mixed(key: UInt64[np.ndarray, "N"]) -> UInt64[np.ndarray, "N"]:
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(key ^ (key >> np.uint64(31)))
