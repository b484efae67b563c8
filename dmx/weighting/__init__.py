"""Weightings, which combine the losses of several tasks to one update; importing this package registers them."""

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
