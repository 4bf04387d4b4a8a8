"""CPython's own test.lock_tests, run against achar's classes in this interpreter.

Prints one line of JSON: how many tests ran, and what failed. What is left out, and why:

- EventTests.test_at_fork_reinit (test_reset_internal_locks): looks into the private _cond.

ConditionTests gives threading.Lock() to a Condition in one test; here it finds achar.Lock under
that name, because achar's Condition takes achar's locks.
"""

import json
import sys
import threading
import unittest

import achar
from test import lock_tests

EXCLUDED = {("EventTests", "test_at_fork_reinit"), ("EventTests", "test_reset_internal_locks")}


class Threading:
    """The threading module, with achar's locks."""

    Lock = staticmethod(achar.Lock)
    RLock = staticmethod(achar.RLock)

    def __getattr__(self, name):
        return getattr(threading, name)


CASES = [
    ("LockTests", "locktype", achar.Lock),
    ("RLockTests", "locktype", achar.RLock),
    ("RLockTests", "locktype", achar.Condition),
    ("EventTests", "eventtype", achar.Event),
    ("ConditionTests", "condtype", achar.Condition),
    ("SemaphoreTests", "semtype", achar.Semaphore),
    ("BoundedSemaphoreTests", "semtype", achar.BoundedSemaphore),
    ("BarrierTests", "barriertype", achar.Barrier),
]


def main():
    lock_tests.threading = Threading()
    suite = unittest.TestSuite()
    excluded = []
    for name, attribute, factory in CASES:
        base = getattr(lock_tests, name)
        case = type(f"{factory.__name__}As{name}", (base,), {attribute: staticmethod(factory)})
        for test in unittest.TestLoader().getTestCaseNames(case):
            if (name, test) in EXCLUDED:
                excluded.append(f"{name}.{test}")
            else:
                suite.addTest(case(test))
    result = unittest.TextTestRunner(stream=sys.stderr, verbosity=1).run(suite)
    bad = [str(test) for test, _ in result.failures + result.errors + result.skipped]
    print(json.dumps({"ran": result.testsRun, "bad": bad, "excluded": excluded}))


main()
