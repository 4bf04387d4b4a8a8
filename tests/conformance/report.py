"""Runs a unittest suite and prints one JSON line about it; what the tests print goes to stderr."""

import json
import os
import sys
import unittest


class Result(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.passed = 0
        self.failed = []

    def addSuccess(self, test):
        self.passed += 1

    def addError(self, test, err):
        super().addError(test, err)
        self.failed.append([str(test), self.errors[-1][1]])

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.failed.append([str(test), self.failures[-1][1]])

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.failed.append([str(subtest), self._exc_info_to_string(err, test)])

    def addUnexpectedSuccess(self, test):
        self.failed.append([str(test), "unexpected success"])


def run(suite):
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    result = Result()
    suite.run(result)
    skipped = [[str(test), reason] for test, reason in result.skipped]
    json.dump({"run": result.testsRun, "passed": result.passed, "failed": result.failed, "skipped": skipped}, out)
    out.write("\n")
    out.close()
    sys.stdout.flush()
