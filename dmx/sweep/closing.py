"""What is left to be done for trials that have ended."""

from dmx.config import StudyConfig
from dmx.experiment import tidy
from dmx.outcome import Outcome
from dmx.sweep.claims import Claims
from dmx.tracking.delivery import unsent
from dmx.tracking.home import Home
from dmx.tracking.journal import JOURNAL, Finished, Reopened, read
from dmx.tracking.process import feeder


def closed(claims: Claims, home: Home) -> bool:
    """Whether all trials have ended and all is on record, so that nothing is left to be done."""
    if claims.finished() < claims.total:
        return False
    record = home.run(f"{claims.study}-study")
    if not (record / JOURNAL).is_file():  # removed by hand
        return False
    ends = [event for event, _ in read(record / JOURNAL) if isinstance(event, Finished | Reopened)]
    if not ends or not isinstance(ends[-1], Finished) or ends[-1].outcome != Outcome.COMPLETE.value:
        return False
    runs = (str(trial.user_attrs.get("run", "")) for trial in claims.trials())
    return not any(run and lacking(home, run) for run in (record.name, *runs))


def send_the_rest(claims: Claims, home: Home) -> None:
    """Have sent what the stores lack of trials that have ended, as where a supervisor was killed."""
    for trial in claims.trials():
        run_id = str(trial.user_attrs.get("run", ""))
        if trial.state.is_finished() and run_id and lacking(home, run_id):
            feeder().finish(home, run_id, 0.0)


def lacking(home: Home, run_id: str) -> int:
    """The events of a run that the stores lack; of one whose folder was removed there are none to send."""
    return unsent(home, run_id) if (home.run(run_id) / JOURNAL).is_file() else 0


def tidy_all(claims: Claims, config: StudyConfig, home: Home) -> None:
    """Remove what a kill left of trials that have ended."""
    for trial in claims.trials():
        run_id, outcome = trial.user_attrs.get("run"), trial.user_attrs.get("outcome")
        if trial.state.is_finished() and run_id and outcome:
            tidy(home.run(run_id), Outcome(outcome), config.experiment, trial=True)
