"""One experiment: prepared (everything a user can have got wrong is found), then run."""

from dmx.experiment.prepare import Prepared, check, prepare
from dmx.experiment.run import (
    IDENTITY,
    UNFINISHED,
    check_equal,
    check_identity,
    crashed,
    identity_of,
    read_result,
    run,
    run_id_of,
    run_known,
    sizes,
)

__all__ = [
    "IDENTITY",
    "UNFINISHED",
    "Prepared",
    "check",
    "check_equal",
    "check_identity",
    "crashed",
    "identity_of",
    "prepare",
    "read_result",
    "run",
    "run_id_of",
    "run_known",
    "sizes",
]
