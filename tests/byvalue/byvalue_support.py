"""dumps and loads for these tests, and a fresh process that has achar and nothing of ours."""

import os
import pathlib
import subprocess
import sys

import achar

dumps = achar.dumps
loads = achar.loads
PACKAGE_ROOT = str(pathlib.Path(achar.__file__).parent.parent)


def run_python(*arguments, stdin=b"", check=True, **environment):
    """Runs this interpreter in a fresh process that finds achar; returns the finished process."""
    done = subprocess.run(
        [sys.executable, *arguments],
        input=stdin,
        capture_output=True,
        timeout=200,
        env={**os.environ, "PYTHONPATH": PACKAGE_ROOT, **environment},
        cwd="/",
    )
    if check and done.returncode != 0:
        raise AssertionError(f"exit code {done.returncode}\n{done.stdout.decode()}\n{done.stderr.decode()}")
    return done
