"""One experiment: prepared (everything a user can have got wrong is found), then run."""

from dmx.experiment.prepare import Prepared, prepare
from dmx.experiment.run import UNFINISHED, crashed, read_result, run, run_id_of

__all__ = ["UNFINISHED", "Prepared", "crashed", "prepare", "read_result", "run", "run_id_of"]
