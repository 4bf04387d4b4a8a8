"""CPython's own executor tests against achar.Executor; see cpython_suite.py."""

import importlib.util
import os
import subprocess
import sys

import pytest


def test_cpythons_own_tests(capsys):
    if importlib.util.find_spec("test") is None or not importlib.util.find_spec("test.test_concurrent_futures"):
        pytest.skip("this CPython was installed without its executor tests")
    suite = os.path.join(os.path.dirname(__file__), "cpython_suite.py")
    done = subprocess.run([sys.executable, suite], capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    with capsys.disabled():
        print("\n" + done.stdout.strip())
