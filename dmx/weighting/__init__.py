"""How the losses of several tasks become one update; importing this package registers the ways."""

from dmx.weighting import (
    aligned_mtl,
    cagrad,
    dwa,
    famo,
    fixed,
    gls,
    gradnorm,
    imtl_l,
    mgda,
    nash_mtl,
    pcgrad,
    rlw,
    uncertainty,
)

__all__ = [
    "aligned_mtl",
    "cagrad",
    "dwa",
    "famo",
    "fixed",
    "gls",
    "gradnorm",
    "imtl_l",
    "mgda",
    "nash_mtl",
    "pcgrad",
    "rlw",
    "uncertainty",
]
