"""CPython's own test.lock_tests, run against achar's classes in this interpreter.

Prints one line of JSON: how many tests ran, and what failed. What is left out, and why:

- EventTests.test_at_fork_reinit (test_reset_internal_locks): looks into the private _cond.

ConditionTests gives threading.Lock() to a Condition in one test; here it finds achar.Lock under
that name, because achar's Condition takes achar's locks.

The tests take times for states, which a machine with other work breaks. Here they wait for the state itself
(wait_threads_blocked), a time limit may take as long as it likes (assertTimeout), and what all threads have
two seconds for they have longer for.
"""

import _thread
import json
import os
import sys
import threading
import time
import unittest

import achar
from test import lock_tests

ENOUGH = 100

EXCLUDED = {("EventTests", "test_at_fork_reinit"), ("EventTests", "test_reset_internal_locks")}


class Threading:
    """The threading module, with achar's locks."""

    Lock = staticmethod(achar.Lock)
    RLock = staticmethod(achar.RLock)

    def __getattr__(self, name):
        return getattr(threading, name)


def asleep_for_ours():
    """How many threads of this process sleep for one of achar's objects: on a futex that processes may share."""
    count = 0
    for thread in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{thread}/syscall") as file:
                words = file.read().split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        count += len(words) > 2 and words[2] == "0x9"
    return count


def wait_threads_blocked(count):
    end = time.monotonic() + ENOUGH
    while asleep_for_ours() < min(count, _thread._count()) and time.monotonic() < end:  # some may have ended
        time.sleep(0.01)


def assert_timeout(self, actual, expected):
    self.assertGreaterEqual(actual, expected * 0.6)


def barrier(parties, action=None, timeout=None):
    return achar.Barrier(parties, action, ENOUGH if timeout == lock_tests.BarrierTests.defaultTimeout else timeout)


CASES = [
    ("LockTests", "locktype", achar.Lock),
    ("RLockTests", "locktype", achar.RLock),
    ("RLockTests", "locktype", achar.Condition),
    ("EventTests", "eventtype", achar.Event),
    ("ConditionTests", "condtype", achar.Condition),
    ("SemaphoreTests", "semtype", achar.Semaphore),
    ("BoundedSemaphoreTests", "semtype", achar.BoundedSemaphore),
    ("BarrierTests", "barriertype", barrier),
]


def main():
    lock_tests.threading = Threading()
    lock_tests.wait_threads_blocked = wait_threads_blocked
    lock_tests.BaseTestCase.assertTimeout = assert_timeout
    lock_tests.support.SHORT_TIMEOUT = ENOUGH
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
