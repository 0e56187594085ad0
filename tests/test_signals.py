"""Signals wait while a run is between two states, and work as before afterwards."""

import signal

import pytest

from giblet.signals import SIGNALS, delayed_signals
from tests.codec.training.runs import listening


@pytest.fixture(autouse=True)
def terminal():
    with listening():
        yield


def test_signals_are_noted_and_obeyed_on_leaving():
    for number, error in ((signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)):
        with delayed_signals() as stop:
            assert not stop
            stop.leave()  # nothing asked for it
            signal.raise_signal(number)
            assert stop
        with pytest.raises(error) as caught:
            stop.leave()
    assert caught.value.code == 143


def test_handlers_are_as_they_were_before():
    before = [signal.getsignal(number) for number in SIGNALS]
    with delayed_signals():
        assert all(signal.getsignal(n) != handler for n, handler in zip(SIGNALS, before, strict=True))
    assert [signal.getsignal(number) for number in SIGNALS] == before
    with pytest.raises(ZeroDivisionError), delayed_signals():
        _ = 1 / 0
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_a_signal_that_was_ignored_still_is():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with delayed_signals() as stop:
            signal.raise_signal(signal.SIGINT)
            assert not stop
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_second_signal_is_obeyed_at_once():
    with pytest.raises(KeyboardInterrupt), delayed_signals() as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop
        signal.raise_signal(signal.SIGINT)
