"""The short form of storm.py."""

import os
import subprocess
import sys


def test_storm():
    program = os.path.join(os.path.dirname(__file__), "storm.py")
    done = subprocess.run([sys.executable, program, "10000"], capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith(" 0 results wrong\n") and not done.stderr, done.stdout + done.stderr
