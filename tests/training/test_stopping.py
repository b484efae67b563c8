"""A signal or the clock ends a training between two steps, though the next batch may never come."""

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from dmx.training.stopping import Interrupted, StopOnSignal, TimedOut

LONG = 60.0
"""Seconds for which a batch does not come; a test that waits for it has failed."""


def batches(*waits: float) -> Iterator[int]:
    for number, wait in enumerate(waits):
        time.sleep(wait)
        yield number


def later(seconds: float, number: int = signal.SIGINT) -> None:
    threading.Timer(seconds, os.kill, (os.getpid(), number)).start()


def through(stop: StopOnSignal, source: Iterator[int], step: float = 0.0, **how: float) -> list[int]:
    seen = []
    for number in stop.waited(source, **how):
        time.sleep(step)
        seen.append(number)
    return seen


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_ends_the_wait_for_a_batch(number: signal.Signals) -> None:
    began = time.monotonic()
    later(0.3, number)
    with StopOnSignal() as stop, pytest.raises(Interrupted, match=number.name):
        through(stop, batches(0, 0, LONG))
    assert time.monotonic() - began < LONG / 2
    assert stop.caught == number.name


def test_in_a_step_it_is_noted_only_and_the_next_wait_does_not_begin() -> None:
    with StopOnSignal() as stop:
        waited = stop.waited(batches(0, LONG))
        assert next(waited) == 0
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.caught == "SIGINT"  # and the step goes on
        with pytest.raises(Interrupted):
            next(waited)


def test_a_second_signal_acts_at_once_in_a_step_too() -> None:
    with StopOnSignal():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("when", ["before", "while"])
def test_with_grace_what_comes_is_still_taken_and_what_does_not_come_is_not_waited_for(when: str) -> None:
    with StopOnSignal() as stop:
        later(0.3 if when == "while" else 0.0)
        assert through(stop, batches(0.1, 0.4, 0.1), grace=20.0) == [0, 1, 2]
        assert stop.caught == "SIGINT"
        began = time.monotonic()
        with pytest.raises(Interrupted):
            through(stop, batches(0, 0, LONG), grace=0.5)
        assert time.monotonic() - began < LONG / 2


def test_the_clock_ends_the_wait_for_a_batch_of_the_training_alone() -> None:
    began = time.monotonic()
    with StopOnSignal(0.5) as stop:
        with pytest.raises(TimedOut):
            through(stop, batches(0, 0, LONG))
        assert through(stop, batches(0, 0.1), grace=20.0) == [0, 1]  # validation comes to its end
        with pytest.raises(TimedOut):
            through(stop, batches(0))
    assert time.monotonic() - began < LONG / 2
    assert stop.caught is None


def test_when_the_time_is_over_in_a_step_the_step_ends_and_no_signal_is_noted() -> None:
    with StopOnSignal(0.2) as stop:
        waited = stop.waited(batches(0, LONG))
        assert next(waited) == 0
        time.sleep(0.5)
        with pytest.raises(TimedOut):
            next(waited)
    assert stop.caught is None


def test_afterwards_signals_are_what_they_were() -> None:
    before = signal.getsignal(signal.SIGINT), threading.active_count()
    with StopOnSignal(LONG):
        assert signal.getsignal(signal.SIGINT) != before[0]
    time.sleep(0.1)
    assert (signal.getsignal(signal.SIGINT), threading.active_count()) == before


def test_in_another_thread_there_are_no_signals_and_nothing_breaks() -> None:
    found: list[list[int]] = []

    def work() -> None:
        with StopOnSignal(LONG) as stop:
            found.append(through(stop, batches(0, 0)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [[0, 1]]
