"""CPython's own tests of multiprocessing's locks and their like, run against achar's classes.

    python run_multiprocessing_tests.py fork|spawn [_TestQueue ...]

Prints one line of JSON: how many tests ran, what failed, and the slowest ones. What is left out, and
why:

- _TestSemaphore.test_timeout: acquire(False, timeout) is a ValueError here, as with threading.
- _TestEvent.test_repr: the text of multiprocessing's own repr.
- _TestQueue.test_queue_feeder_donot_stop_onexc, test_queue_feeder_on_queue_feeder_error: about the
  thread that pickles behind put()'s back; here put() raises.
- _TestQueue.test_closed_queue_empty_exceptions: empty() works after close(); there is no pipe to close.
- _TestCondition.check_invariant, in tests that run otherwise: counts private semaphores.
"""

import json
import multiprocessing
import sys
import unittest

import achar
from test import _test_multiprocessing as tests

CLASSES = ["_TestLock", "_TestSemaphore", "_TestCondition", "_TestEvent", "_TestBarrier", "_TestQueue"]
EXCLUDED = {
    ("_TestSemaphore", "test_timeout"),
    ("_TestEvent", "test_repr"),
    ("_TestQueue", "test_closed_queue_empty_exceptions"),
    ("_TestQueue", "test_queue_feeder_donot_stop_onexc"),
    ("_TestQueue", "test_queue_feeder_on_queue_feeder_error"),
}


class AcharMixin(tests.ProcessesMixin):
    Lock = staticmethod(achar.Lock)
    RLock = staticmethod(achar.RLock)
    Condition = staticmethod(achar.Condition)
    Event = staticmethod(achar.Event)
    Semaphore = staticmethod(achar.Semaphore)
    BoundedSemaphore = staticmethod(achar.BoundedSemaphore)
    Barrier = staticmethod(achar.Barrier)
    Queue = staticmethod(achar.Queue)
    JoinableQueue = staticmethod(achar.Queue)

    def check_invariant(self, cond):
        pass


def make(name):
    """The tests of one class, under a name that a spawned process finds in this module."""
    case = type("Achar" + name, (AcharMixin, getattr(tests, name), unittest.TestCase), {"__module__": __name__})
    globals()[case.__name__] = case
    return case


cases = [make(name) for name in CLASSES if hasattr(tests, name)]

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1], force=True)
    multiprocessing.Queue = multiprocessing.JoinableQueue = achar.Queue  # as some of the tests name it
    suite = unittest.TestSuite()
    excluded = []
    for case in cases:
        if sys.argv[2:] and case.__name__.removeprefix("Achar") not in sys.argv[2:]:
            continue
        for test in unittest.TestLoader().getTestCaseNames(case):
            if (case.__name__.removeprefix("Achar"), test) in EXCLUDED:
                excluded.append(f"{case.__name__}.{test}")
            else:
                suite.addTest(case(test))
    result = unittest.TextTestRunner(stream=sys.stderr, verbosity=2).run(suite)
    bad = [str(test) for test, _ in result.failures + result.errors]
    skipped = [f"{test}: {why}" for test, why in result.skipped]
    print(json.dumps({"ran": result.testsRun, "bad": bad, "skipped": skipped, "excluded": excluded}))
