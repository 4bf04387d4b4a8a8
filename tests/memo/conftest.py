"""What all tests of the memo have in common."""

import sys
import threading

import fresh
import pytest


@pytest.fixture(autouse=True)
def no_threads_of_the_test_run(monkeypatch):
    """Threads that were there before a test, pytest-xdist's and those of executors that other tests have left, do not
    count as threads that may change what a memoized function names."""
    frames, here = sys._current_frames, threading.get_ident()
    others = set(frames()) - {here}
    monkeypatch.setattr(sys, "_current_frames", lambda: {n: frame for n, frame in frames().items() if n not in others})


@pytest.fixture(scope="session")
def interpreters():
    """New processes for scripts, which start soon."""
    interpreters = fresh.Interpreters()
    yield interpreters
    interpreters.close()
